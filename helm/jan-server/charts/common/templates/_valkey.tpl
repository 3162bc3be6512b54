{{/* How pods reach the Valkey of this chart. All take the context. */}}

{{- define "jan.valkeySecret" -}}
{{- .Values.global.valkey.existingSecret | default (include "jan.name" (dict "at" . "component" "valkey")) -}}
{{- end -}}

{{- define "jan.valkeyUrl" -}}
redis://{{ include "jan.name" (dict "at" . "component" "valkey") }}.{{ .Release.Namespace }}.svc:6379
{{- end -}}

{{- define "jan.valkeyEnvironment" -}}
{{- if .Values.global.valkey.enabled }}
- name: JAN_REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "jan.valkeySecret" . }}
      key: password
{{- end }}
{{- end -}}
