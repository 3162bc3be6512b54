{{/* Annotations that keep a controller from holding streams back, from cutting them off, and from asking
     twice: Jan tries other engines itself, and a second request is a second answer. Takes the context. */}}
{{- define "gateway.streaming" -}}
{{- $bytes := get .Values.settings "max_body_bytes" | default 33554432 | int64 }}
{{- if eq .Values.ingress.controller "nginx" -}}
nginx.ingress.kubernetes.io/proxy-buffering: "off"
nginx.ingress.kubernetes.io/proxy-request-buffering: "off"
nginx.ingress.kubernetes.io/proxy-read-timeout: "3600"
nginx.ingress.kubernetes.io/proxy-send-timeout: "3600"
nginx.ingress.kubernetes.io/proxy-body-size: {{ $bytes | quote }}
nginx.ingress.kubernetes.io/proxy-next-upstream: "off"
{{- else if eq .Values.ingress.controller "haproxy" -}}
haproxy.org/timeout-server: 1h
haproxy.org/timeout-tunnel: 1h
{{- else if eq .Values.ingress.controller "alb" -}}
alb.ingress.kubernetes.io/load-balancer-attributes: idle_timeout.timeout_seconds=3600
alb.ingress.kubernetes.io/healthcheck-path: /livez
{{- end }}
{{- end -}}
