{{/* How many replicas there are, and how many may be away at once. */}}

{{/* An autoscaler. `name` and `kind` say what of, `autoscaling` is as in the values; `series` says for
     `queueDepth` and `activeStreams` what a metrics adapter calls it and what Prometheus is asked, and
     `isShared` that these are not metrics of the pods. */}}
{{- define "jan.autoscaler" -}}
{{- $scale := .autoscaling }}
{{- $wanted := dict }}
{{- range $what := list "queueDepth" "activeStreams" }}
  {{- if gt (int (get $scale $what)) 0 }}{{ $_ := set $wanted $what (int (get $scale $what)) }}{{ end }}
{{- end }}
{{- if eq $scale.kind "keda" -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ .name }}
  labels:
    {{- include "jan.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: {{ .kind }}
    name: {{ .name }}
  minReplicaCount: {{ $scale.minReplicas }}
  maxReplicaCount: {{ $scale.maxReplicas }}
  {{- with $scale.behavior }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        {{- toYaml . | nindent 8 }}
  {{- end }}
  triggers:
    {{- if $scale.cpu }}
    - type: cpu
      metricType: Utilization
      metadata:
        value: {{ $scale.cpu | quote }}
    {{- end }}
    {{- range $what, $target := $wanted }}
    - type: prometheus
      metricType: AverageValue
      metadata:
        serverAddress: {{ required "global.metrics.prometheus: KEDA wants Prometheus' address" $.at.Values.global.metrics.prometheus }}
        query: {{ get (get $.series $what) "query" }}
        threshold: {{ $target | quote }}
    {{- end }}
    {{- with $scale.more }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- else -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .name }}
  labels:
    {{- include "jan.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: {{ .kind }}
    name: {{ .name }}
  minReplicas: {{ $scale.minReplicas }}
  maxReplicas: {{ $scale.maxReplicas }}
  metrics:
    {{- if $scale.cpu }}
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ $scale.cpu }}
    {{- end }}
    {{- range $what, $target := $wanted }}
    {{- if $.isShared }}
    - type: External
      external:
        metric:
          name: {{ get (get $.series $what) "name" }}
          selector:
            matchLabels:
              namespace: {{ $.at.Release.Namespace }}
    {{- else }}
    - type: Pods
      pods:
        metric:
          name: {{ get (get $.series $what) "name" }}
    {{- end }}
        target:
          type: AverageValue
          averageValue: {{ $target | quote }}
    {{- end }}
    {{- with $scale.more }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $scale.behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* A budget for disruptions. `budget` is as in the values; `replicas` how many there are at least:
     one alone would keep its node from ever being drained. */}}
{{- define "jan.disruptionBudget" -}}
{{- if and .budget.enabled (gt (int .replicas) 1) -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels:
    {{- include "jan.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .budget.maxUnavailable }}
  # Pods that are broken are no reason to keep a node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "jan.selector" . | nindent 6 }}
{{- end }}
{{- end -}}

{{/* How many engines of a model there may be. Takes the model, with its defaults. */}}
{{- define "jan.engines" -}}
{{- if .autoscaling.enabled }}{{ int .autoscaling.maxReplicas }}{{ else }}{{ int .replicas }}{{ end -}}
{{- end -}}
