{{/* How pods reach the database. All take the context. */}}

{{- define "jan.databaseEnvironment" -}}
{{- $database := .Values.global.database }}
- name: JAN_DATABASE_URL
  valueFrom:
    secretKeyRef:
      {{- if $database.existingSecret.name }}
      name: {{ $database.existingSecret.name }}
      key: {{ $database.existingSecret.urlKey }}
      {{- else }}
      name: {{ include "jan.ownDatabase" . }}
      key: url
      {{- end }}
{{- if and $database.existingSecret.name $database.existingSecret.directUrlKey }}
- name: JAN_DATABASE_DIRECT_URL
  valueFrom:
    secretKeyRef:
      name: {{ $database.existingSecret.name }}
      key: {{ $database.existingSecret.directUrlKey }}
{{- end }}
{{- include "jan.databaseTls" . }}
{{- end -}}

{{/* Of the owner of the tables: for the migration alone. */}}
{{- define "jan.ownerEnvironment" -}}
{{- $secret := .Values.global.database.existingSecret }}
{{- if not $secret.name }}
- name: JAN_DATABASE_MIGRATION_URL
  valueFrom:
    secretKeyRef:
      name: {{ include "jan.ownDatabase" . }}
      key: migration-url
{{- else if or $secret.migrationUrlKey $secret.migrationName }}
- name: JAN_DATABASE_MIGRATION_URL
  valueFrom:
    secretKeyRef:
      name: {{ $secret.migrationName | default $secret.name }}
      key: {{ $secret.migrationUrlKey | default $secret.urlKey }}
{{- end }}
{{- end -}}

{{- define "jan.replicaEnvironment" -}}
{{- with .Values.global.database.existingSecret }}
{{- if and .name .readUrlsKey }}
- name: JAN_DATABASE_READ_URLS
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .readUrlsKey }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The driver reads what libpq does. A mode in the URL wins. */}}
{{- define "jan.databaseTls" -}}
{{- with .Values.global.database.tls }}
{{- if .mode }}
- name: PGSSLMODE
  value: {{ .mode }}
{{- end }}
{{- if .caSecret.name }}
- name: PGSSLROOTCERT
  value: /etc/jan/database/{{ .caSecret.key }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "jan.databaseMounts" -}}
{{- if .Values.global.database.tls.caSecret.name }}
- name: database
  mountPath: /etc/jan/database
  readOnly: true
{{- end }}
{{- end -}}

{{- define "jan.databaseVolumes" -}}
{{- with .Values.global.database.tls.caSecret }}
{{- if .name }}
- name: database
  secret:
    secretName: {{ .name }}
    items:
      - key: {{ .key }}
        path: {{ .key }}
{{- end }}
{{- end }}
{{- end -}}
