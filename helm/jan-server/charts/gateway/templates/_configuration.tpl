{{/* Settings of Jan as jan.toml has them. Strings, numbers and arrays are written alike in JSON and in
     TOML. Both take the context. */}}

{{- define "gateway.configuration" -}}
{{- $settings := mergeOverwrite (dict "log_format" "json") .Values.settings (dict "host" "0.0.0.0" "port" 8080 "private_host" "0.0.0.0" "private_port" 6060) }}
{{- if .Values.worker.enabled }}
{{- $_ := set $settings "run_jobs" false }}
{{- end }}
{{- if .Values.global.valkey.enabled }}
{{- $_ := set $settings "redis_url" (include "jan.valkeyUrl" .) }}
{{- end }}
{{- range $name, $value := $settings }}
{{ $name }} = {{ toJson $value }}
{{- end }}
{{- range .Values.global.models }}
{{- $model := mergeOverwrite (deepCopy $.Values.global.modelDefaults) . }}
{{- $name := include "jan.name" (dict "at" $ "component" (include "jan.slug" .name)) }}

[[providers]]
name = {{ printf "engine-%s" (include "jan.slug" .name) | toJson }}
kind = "runner"
{{- /* All that there may be: those that are not there are asked no more than that. */}}
urls = [
  {{- range $number := until (int (include "jan.engines" $model)) }}
  "http://{{ $name }}-{{ $number }}.{{ $name }}.{{ $.Release.Namespace }}.svc:8101",
  {{- end }}
]
{{- with $model.maxRunning }}
max_running = {{ int . }}
{{- end }}
{{- end }}
{{- range .Values.providers }}

[[providers]]
name = {{ toJson .name }}
kind = {{ .kind | default "openai" | toJson }}
urls = {{ toJson .urls }}
{{- with .prefix }}
prefix = {{ toJson . }}
{{- end }}
{{- with .models }}
models = {{ toJson . }}
{{- end }}
{{- with .maxRunning }}
max_running = {{ int . }}
{{- end }}
{{- if .apiKey }}
api_key_file = "/etc/jan/providers/{{ .name }}"
{{- end }}
{{- end }}
{{ end -}}

{{/* What gateways and workers are given beside that: secrets, each from where it lies. */}}
{{- define "gateway.environment" -}}
{{ include "jan.programEnvironment" . }}
- name: JAN_CONFIG
  value: /etc/jan/configuration/jan.toml
- name: JAN_JWT_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ include "jan.secrets" . }}
      key: jwt-secret
- name: JAN_API_KEY_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ include "jan.secrets" . }}
      key: api-key-secret
{{- include "jan.databaseEnvironment" . }}
{{- include "jan.replicaEnvironment" . }}
{{- include "jan.valkeyEnvironment" . }}
{{- range $name, $from := .Values.secretSettings }}
- name: JAN_{{ upper $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.name }}
      key: {{ $from.key }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "gateway.mounts" -}}
{{ include "jan.programMounts" . }}
- name: configuration
  mountPath: /etc/jan/configuration
  readOnly: true
{{- include "jan.databaseMounts" . }}
{{- if include "gateway.hasProviderKeys" . }}
- name: providers
  mountPath: /etc/jan/providers
  readOnly: true
{{- end }}
{{- end -}}

{{- define "gateway.volumes" -}}
- name: home
  emptyDir: {}
{{ include "jan.programVolumes" . }}
- name: configuration
  configMap:
    name: {{ include "jan.name" (dict "at" . "component" "gateway") }}
{{- include "jan.databaseVolumes" . }}
{{- if include "gateway.hasProviderKeys" . }}
- name: providers
  projected:
    defaultMode: 0440
    sources:
      {{- range .Values.providers }}
      {{- if .apiKey }}
      - secret:
          name: {{ .apiKey.name }}
          items:
            - key: {{ .apiKey.key }}
              path: {{ .name }}
      {{- end }}
      {{- end }}
{{- end }}
{{- end -}}

{{- define "gateway.hasProviderKeys" -}}
{{- range .Values.providers }}{{ if .apiKey }}yes{{ end }}{{ end -}}
{{- end -}}
