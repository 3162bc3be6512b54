{{/* Names and labels. Templates here take a dict, if they do not say otherwise: `at` is the context of
     who asks, `component` the part of Jan that it asks for. */}}

{{/* What the name of every object of a release begins with. Takes the context itself. */}}
{{- define "jan.fullname" -}}
{{- default .Release.Name .Values.global.nameOverride | trunc 20 | trimSuffix "-" -}}
{{- end -}}

{{- define "jan.name" -}}
{{- printf "%s-%s" (include "jan.fullname" .at) .component -}}
{{- end -}}

{{/* Tells a part's pods from all others; `engine` those of one model. Never changed: selectors can't
     be. */}}
{{- define "jan.selector" -}}
app.kubernetes.io/name: jan
app.kubernetes.io/instance: {{ .at.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .engine }}
jan/engine: {{ . }}
{{- end }}
{{- end -}}

{{- define "jan.labels" -}}
{{ include "jan.selector" . }}
app.kubernetes.io/version: {{ .at.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: jan-server
app.kubernetes.io/managed-by: {{ .at.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .at.Chart.Name .at.Chart.Version }}
{{- end -}}

{{/* `image` is as in the values. Without a tag it is that of this version of Jan. */}}
{{- define "jan.image" -}}
{{- with .image.registry }}{{ . }}/{{ end -}}
{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .at.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{/* A name of a model in names of objects: Qwen/Qwen3-4B becomes qwen-qwen3-4b. Takes the name. A
     StatefulSet's may have 52 characters, all in all: what it adds is a label, too. */}}
{{- define "jan.slug" -}}
{{- regexReplaceAll "[^a-z0-9]+" (lower .) "-" | trunc 30 | trimAll "-" -}}
{{- end -}}

{{/* Names of the Secrets that a release uses: its own, or those of the values. Both take the context. */}}
{{- define "jan.secrets" -}}
{{- .Values.global.secrets.existingSecret | default (include "jan.name" (dict "at" . "component" "secrets")) -}}
{{- end -}}

{{- define "jan.ownDatabase" -}}
{{- .Values.global.database.ownSecret | default (include "jan.name" (dict "at" . "component" "postgresql")) -}}
{{- end -}}
