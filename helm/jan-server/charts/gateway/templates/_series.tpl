{{/* What gateways and workers are scaled by, as `jan.autoscaler` takes it. Both take the context. */}}

{{- define "gateway.series" -}}
{{- $which := printf "{namespace=%q,service=%q}" .Release.Namespace (include "jan.name" (dict "at" . "component" "gateway-private")) -}}
queueDepth: {name: jan_gateway_queue_waiting, query: {{ printf "sum(jan_gateway_queue_waiting%s)" $which | quote }}}
activeStreams: {name: jan_gateway_streams, query: {{ printf "sum(jan_gateway_streams%s)" $which | quote }}}
{{- end -}}

{{/* Jobs. Each gateway tells how many there are in the database. */}}
{{- define "worker.series" -}}
{{- $which := printf "{namespace=%q,service=%q}" .Release.Namespace (include "jan.name" (dict "at" . "component" "gateway-private")) -}}
queueDepth: {name: jan_jobs_waiting, query: {{ printf "sum(max by (kind) (jan_jobs_waiting%s))" $which | quote }}}
activeStreams: {name: jan_jobs_running, query: {{ printf "sum(max by (kind) (jan_jobs_running%s))" $which | quote }}}
{{- end -}}
