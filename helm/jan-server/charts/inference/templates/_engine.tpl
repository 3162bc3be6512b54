{{/* Parts of an engine's pod. All take `at` and `model`, which has its defaults. */}}

{{/* What starts before it: downloads, at the same places and with the same rights. */}}
{{- define "inference.preparing" -}}
env:
  {{- include "jan.programEnvironment" . | nindent 2 }}
  {{- with .at.Values.hubToken }}
  {{- if .name }}
  - name: HF_TOKEN
    valueFrom:
      secretKeyRef:
        name: {{ .name }}
        key: {{ .key }}
  {{- end }}
  {{- end }}
  {{- with .model.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
resources:
  {{- toYaml .model.resources | nindent 2 }}
volumeMounts:
  {{- include "jan.programMounts" . | nindent 2 }}
{{- end -}}

{{- define "inference.environment" -}}
{{ include "jan.programEnvironment" . }}
- name: JAN_LOG_FORMAT
  value: json
- name: JAN_MODEL
  value: {{ .model.name | quote }}
- name: JAN_ENGINE
  value: {{ .model.engine }}
- name: JAN_ENGINE_ARGS
  value: {{ include "inference.arguments" . | quote }}
# Without authentication: the NetworkPolicy lets gateways in, and nobody else.
- name: JAN_RUNNER_HOST
  value: "0.0.0.0"
- name: JAN_RUNNER_PORT
  value: "8101"
- name: JAN_RUNNER_START_TIMEOUT_S
  value: {{ int .model.startTimeoutSeconds | quote }}
- name: JAN_RUNNER_STOP_GRACE_S
  value: {{ int .model.stopGraceSeconds | quote }}
{{- with .model.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What `engineArgs` says comes last, and wins. */}}
{{- define "inference.arguments" -}}
{{- $words := list }}
{{- if gt (int .model.gpus) 1 }}
  {{- $words = append $words (printf "--tensor-parallel-size %d" (int .model.gpus)) }}
{{- end }}
{{- with .model.memoryFraction }}
  {{- $words = append $words (printf "--gpu-memory-utilization %v" .) }}
{{- end }}
{{- with .model.engineArgs }}
  {{- $words = append $words . }}
{{- end }}
{{- join " " $words -}}
{{- end -}}

{{- define "inference.resources" -}}
{{- $resources := deepCopy .model.resources }}
{{- with int .model.gpus }}
  {{- $_ := set $resources "limits" (merge (dict "nvidia.com/gpu" .) ($resources.limits | default dict)) }}
{{- end }}
{{- toYaml $resources -}}
{{- end -}}

{{/* What engines of a model are scaled by, as `jan.autoscaler` takes it: vLLM's own metrics. */}}
{{- define "inference.series" -}}
{{- $which := printf "{namespace=%q,service=%q}" .at.Release.Namespace .name -}}
{{- $names := .at.Values.global.metrics -}}
queueDepth: {name: {{ $names.queueDepth }}, query: {{ printf "sum(vllm:num_requests_waiting%s)" $which | quote }}}
activeStreams: {name: {{ $names.activeStreams }}, query: {{ printf "sum(vllm:num_requests_running%s)" $which | quote }}}
{{- end -}}
