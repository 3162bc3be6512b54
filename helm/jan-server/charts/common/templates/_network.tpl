{{/* Parts of NetworkPolicies. */}}

{{/* The pods of some parts of this release. `parts` is a list of their names. */}}
{{- define "jan.peers" -}}
{{- range .parts }}
- podSelector:
    matchLabels:
      {{- include "jan.selector" (dict "at" $.at "component" .) | nindent 6 }}
{{- end }}
{{- end -}}

{{/* Looking up names, wherever the cluster does that. */}}
{{- define "jan.nameService" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end -}}
