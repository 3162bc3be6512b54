{{/* Secrets that are made once. */}}

{{/* The value that a Secret of the release has under a key, or a new one. `kept` is what is there,
     `length` how long a new one is. Encoded, as it lies in a Secret. */}}
{{- define "jan.keptOrNew" -}}
{{- $kept := .kept | default dict -}}
{{- if hasKey $kept .key -}}
{{- get $kept .key -}}
{{- else -}}
{{- randAlphaNum (int .length) | b64enc -}}
{{- end -}}
{{- end -}}
