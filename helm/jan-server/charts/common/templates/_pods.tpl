{{/* What all pods have in common. Each takes `at` and what its comment says. */}}

{{/* The pod's own part: no token, no root. `user` is the id that the image runs as. No service links: they
     are variables such as JAN_GATEWAY_PORT, and Jan refuses those that it does not know. */}}
{{- define "jan.podSecurity" -}}
serviceAccountName: {{ .serviceAccount | default (include "jan.fullname" .at) }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .at.Values.global.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user | default 10001 }}
  runAsGroup: {{ .user | default 10001 }}
  fsGroup: {{ .user | default 10001 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{/* Every container's part: nothing to write to but volumes, no capability. */}}
{{- define "jan.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Where pods go. `pod` has nodeSelector, tolerations, affinity and the classes; `spread` says how
     much it matters that replicas are apart. */}}
{{- define "jan.scheduling" -}}
{{- with .pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .pod.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- if .spread }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    {{- /* Nodes without zones would take no pod at all. */}}
    whenUnsatisfiable: {{ eq $key "kubernetes.io/hostname" | ternary $.spread "ScheduleAnyway" }}
    labelSelector:
      matchLabels:
        {{- include "jan.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Annotations and labels of pods, without versions: a change in those alone would start engines anew.
      `pod` has podAnnotations and podLabels; `checksum` changes with
     what pods read at their start only. */}}
{{- define "jan.podMetadata" -}}
labels:
  {{- include "jan.selector" . | nindent 2 }}
  {{- with .pod.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- if or .checksum .pod.podAnnotations }}
annotations:
  {{- with .checksum }}
  checksum/configuration: {{ . }}
  {{- end }}
  {{- with .pod.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* A container of Jan's image, or of `image`: its program, and where it may write. */}}
{{- define "jan.program" -}}
image: {{ include "jan.image" (dict "at" .at "image" (.image | default .at.Values.global.image)) }}
imagePullPolicy: {{ .at.Values.global.image.pullPolicy }}
command: [jan]
{{ include "jan.containerSecurity" .at }}
{{- end -}}

{{- define "jan.programEnvironment" -}}
- name: HOME
  value: /var/lib/jan
- name: JAN_HOME
  value: /var/lib/jan
{{- end -}}

{{- define "jan.programMounts" -}}
- name: home
  mountPath: /var/lib/jan
- name: tmp
  mountPath: /tmp
{{- end -}}

{{- define "jan.programVolumes" -}}
- name: tmp
  emptyDir: {}
{{- end -}}
