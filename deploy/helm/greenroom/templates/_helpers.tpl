{{- define "greenroom.name" -}}
{{- .Release.Name | trunc 42 | trimSuffix "-" -}}
{{- end }}

{{- define "greenroom.selector" -}}
app.kubernetes.io/name: greenroom
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "greenroom.labels" -}}
{{ include "greenroom.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* "yes" if these pods have clients */ -}}
{{- define "greenroom.clients" -}}
{{- if or (not .Values.labels) (has "any" (splitList " " .Values.labels)) }}yes{{ end }}
{{- end }}
