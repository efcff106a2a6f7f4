{{/* Names and labels that all objects share, and the configuration sections that agent and writer have in common. */}}

{{- define "cordwood.fullname" -}}
{{- if contains "cordwood" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-cordwood" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* The parts that are installed, as a JSON list. */}}
{{- define "cordwood.parts" -}}
{{- concat (list "agent" "writer" "operator") (ternary (list "gateway") list .Values.gateway.enabled) | toJson }}
{{- end }}

{{/* Argument: (dict "root" $ "part" "agent") */}}
{{- define "cordwood.name" -}}
{{ include "cordwood.fullname" .root }}-{{ .part }}
{{- end }}

{{- define "cordwood.selector" -}}
app.kubernetes.io/name: cordwood
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "cordwood.labels" -}}
{{ include "cordwood.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "cordwood.image" -}}
{{ printf "%s/cordwood-%s:%s" .root.Values.image.registry .part (.root.Values.image.tag | default .root.Chart.AppVersion) | quote }}
{{- end }}

{{- define "cordwood.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The `kafka` section of a configuration file, as YAML. Secrets appear as file names only. */}}
{{- define "cordwood.kafka" -}}
{{- $k := .Values.kafka }}
{{- $brokers := required "kafka.brokers is needed: --set 'kafka.brokers={host:9092}'" (join "," $k.brokers) }}
{{- $out := dict "brokers" $brokers "topic" $k.topic "partitions" (int $k.partitions) "replication" (int $k.replication) "compression" $k.compression }}
{{- if $k.tls.enabled }}
{{- $tls := dict }}
{{- if $k.tls.secretName }}
{{- if $k.tls.caKey }}{{ $_ := set $tls "ca_file" (printf "/etc/cordwood/kafka-tls/%s" $k.tls.caKey) }}{{ end }}
{{- if $k.tls.certKey }}{{ $_ := set $tls "cert_file" (printf "/etc/cordwood/kafka-tls/%s" $k.tls.certKey) }}{{ end }}
{{- if $k.tls.keyKey }}{{ $_ := set $tls "key_file" (printf "/etc/cordwood/kafka-tls/%s" $k.tls.keyKey) }}{{ end }}
{{- end }}
{{- $_ := set $out "tls" $tls }}
{{- end }}
{{- if $k.sasl.mechanism }}
{{- $secret := required "kafka.sasl.passwordSecret.name is needed with kafka.sasl.mechanism" $k.sasl.passwordSecret.name }}
{{- $user := required "kafka.sasl.username is needed with kafka.sasl.mechanism" $k.sasl.username }}
{{- $_ := set $out "sasl" (dict "mechanism" $k.sasl.mechanism "username" $user "password_file" (printf "/etc/cordwood/kafka-sasl/%s" $k.sasl.passwordSecret.key)) }}
{{- end }}
{{- toYaml $out }}
{{- end }}

{{- define "cordwood.kafkaMounts" -}}
{{- if and .Values.kafka.tls.enabled .Values.kafka.tls.secretName }}
- {name: kafka-tls, mountPath: /etc/cordwood/kafka-tls, readOnly: true}
{{- end }}
{{- if .Values.kafka.sasl.mechanism }}
- {name: kafka-sasl, mountPath: /etc/cordwood/kafka-sasl, readOnly: true}
{{- end }}
{{- end }}

{{- define "cordwood.kafkaVolumes" -}}
{{- if and .Values.kafka.tls.enabled .Values.kafka.tls.secretName }}
- name: kafka-tls
  secret: {secretName: {{ .Values.kafka.tls.secretName | quote }}, defaultMode: 288}
{{- end }}
{{- if .Values.kafka.sasl.mechanism }}
- name: kafka-sasl
  secret: {secretName: {{ .Values.kafka.sasl.passwordSecret.name | quote }}, defaultMode: 288}
{{- end }}
{{- end }}

{{/* The `redis` section of a configuration file, as YAML. */}}
{{- define "cordwood.redis" -}}
{{- $redis := dict "url" .Values.redis.url }}
{{- if .Values.redis.passwordSecret.name }}{{ $_ := set $redis "password_file" (printf "/etc/cordwood/redis/%s" .Values.redis.passwordSecret.key) }}{{ end }}
{{- if .Values.redis.caSecretName }}{{ $_ := set $redis "ca_file" "/etc/cordwood/redis-ca/ca.crt" }}{{ end }}
{{- toYaml $redis }}
{{- end }}

{{- define "cordwood.redisMounts" -}}
{{- if and .Values.redis.url .Values.redis.passwordSecret.name }}
- {name: redis, mountPath: /etc/cordwood/redis, readOnly: true}
{{- end }}
{{- if and .Values.redis.url .Values.redis.caSecretName }}
- {name: redis-ca, mountPath: /etc/cordwood/redis-ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "cordwood.redisVolumes" -}}
{{- if and .Values.redis.url .Values.redis.passwordSecret.name }}
- name: redis
  secret: {secretName: {{ .Values.redis.passwordSecret.name | quote }}, defaultMode: 288}
{{- end }}
{{- if and .Values.redis.url .Values.redis.caSecretName }}
- name: redis-ca
  secret: {secretName: {{ .Values.redis.caSecretName | quote }}, defaultMode: 288}
{{- end }}
{{- end }}

{{- define "cordwood.databaseMounts" -}}
{{- if .Values.database.caSecretName }}
- {name: database-ca, mountPath: /etc/cordwood/database-ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "cordwood.databaseVolumes" -}}
{{- if .Values.database.caSecretName }}
- name: database-ca
  secret: {secretName: {{ .Values.database.caSecretName | quote }}, defaultMode: 288}
{{- end }}
{{- end }}

{{/* What an unprivileged container may not do: anything but its work. Argument as cordwood.name. */}}
{{- define "cordwood.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "cordwood.podSecurity" -}}
{{- $uid := int (index .root.Values .part).runAsUser }}
runAsNonRoot: true
runAsUser: {{ $uid }}
runAsGroup: {{ $uid }}
fsGroup: {{ $uid }}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "cordwood.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{- define "cordwood.placement" -}}
{{- $p := index .root.Values .part }}
{{- with $p.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $p.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $p.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Annotations of a pod: restart on a changed configuration, and where the metrics are. Argument: + "config" (the ConfigMap's text). */}}
{{- define "cordwood.podAnnotations" -}}
{{- $own := dict "cordwood.dev/config-hash" (sha256sum .config) "prometheus.io/scrape" "true" "prometheus.io/port" (toString .port) "prometheus.io/path" "/metrics" }}
{{- toYaml (merge $own (index .root.Values .part).podAnnotations) }}
{{- end }}

{{- define "cordwood.env" -}}
- {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
- {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
- {name: POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
- {name: RUST_LOG, value: {{ (index .root.Values .part).logLevel | quote }}}
{{- if (index .root.Values .part).serveLevels }}
- {name: CORDWOOD_SERVE_LEVELS, value: "1"}
{{- end }}
{{- end }}

{{/* Not empty: the gateway administers, and asks the operator how the agents are. */}}
{{- define "cordwood.administers" -}}
{{- if and .Values.gateway.enabled .Values.gateway.administration.enabled }}yes{{ end }}
{{- end }}

{{/* The configuration files: what `<part>.config` says, and what the chart decides. */}}
{{- define "cordwood.agentConfig" -}}
{{- $chart := dict "listen" "0.0.0.0:9600" "pods_dir" .Values.agent.logPath "state_dir" .Values.agent.statePath "kafka" (include "cordwood.kafka" . | fromYaml) }}
{{- if .Values.agent.docker }}{{ $_ := set $chart "docker_dir" "/var/lib/docker/containers" }}{{ end }}
{{- toYaml (mergeOverwrite (deepCopy .Values.agent.config) $chart) }}
{{- end }}

{{- define "cordwood.writerConfig" -}}
{{- $chart := dict "listen" "0.0.0.0:9600" "kafka" (include "cordwood.kafka" . | fromYaml) }}
{{- if .Values.redis.url }}{{ $_ := set $chart "redis" (include "cordwood.redis" . | fromYaml) }}{{ end }}
{{- toYaml (mergeOverwrite (deepCopy .Values.writer.config) $chart) }}
{{- end }}

{{- define "cordwood.operatorConfig" -}}
{{- $selector := printf "app.kubernetes.io/name=cordwood,app.kubernetes.io/instance=%s,app.kubernetes.io/component=agent" .Release.Name }}
{{- $chart := dict "listen" "0.0.0.0:9600" "levels" (dict "agent_selector" $selector "agent_port" 9600) }}
{{- with .Values.agent.config.tenants }}{{ $_ := set $chart "tenants" . }}{{ end }}
{{- if include "cordwood.administers" . }}
{{- $gateway := include "cordwood.name" (dict "root" . "part" "gateway") }}
{{- $_ := set $chart "agents_readers" (list (printf "system:serviceaccount:%s:%s" .Release.Namespace $gateway)) }}
{{- end }}
{{- toYaml (mergeOverwrite (deepCopy .Values.operator.config) $chart) }}
{{- end }}

{{- define "cordwood.sessionSecret" -}}
{{ .Values.gateway.sessionSecret.name | default (printf "%s-session" (include "cordwood.name" (dict "root" . "part" "gateway"))) }}
{{- end }}

{{- /* What the chart's own Secret holds, base64. Made once: an upgrade finds it in the cluster and leaves it as it is. What renders without a cluster
cannot find it: name a Secret there. Kept among the values, so that all that is rendered at once says the same. */}}
{{- define "cordwood.sessionValue" -}}
{{- if not (hasKey .Values "sessionValue") }}
{{- $known := lookup "v1" "Secret" .Release.Namespace (include "cordwood.sessionSecret" .) }}
{{- $value := dig "data" .Values.gateway.sessionSecret.key "" (default dict $known) | default (randAlphaNum 64 | b64enc) }}
{{- $_ := set .Values "sessionValue" $value }}
{{- end }}
{{- .Values.sessionValue }}
{{- end }}

{{- define "cordwood.gatewayConfig" -}}
{{- $access := dict "kubernetes" dict "session_key_file" "/etc/cordwood/session/key" }}
{{- with .Values.gateway.config.access }}{{ if .oidc }}
{{- $oidc := dict }}
{{- if $.Values.gateway.oidc.caSecretName }}{{ $_ := set $oidc "ca_file" "/etc/cordwood/oidc-ca/ca.crt" }}{{ end }}
{{- if and .oidc.browser $.Values.gateway.oidc.clientSecret.name }}{{ $_ := set $oidc "browser" (dict "client_secret_file" "/etc/cordwood/oidc/client-secret") }}{{ end }}
{{- $_ := set $access "oidc" $oidc }}
{{- end }}{{ end }}
{{- $notice := dig "notice_ms" 30000 (.Values.operator.config.retention | default dict) }}
{{- $administration := dict "enabled" .Values.gateway.administration.enabled "notice_ms" (int $notice) }}
{{- if .Values.gateway.administration.enabled }}
{{- $operator := include "cordwood.name" (dict "root" . "part" "operator") }}
{{- $_ := set $administration "operator_url" (printf "http://%s:9600" $operator) }}
{{- $_ := set $administration "operator_token_file" "/var/run/secrets/cordwood-operator/token" }}
{{- end }}
{{- $chart := dict "listen" "0.0.0.0:9600" "probes_listen" "0.0.0.0:9601" "access" $access "administration" $administration }}
{{- if .Values.redis.url }}{{ $_ := set $chart "redis" (include "cordwood.redis" . | fromYaml) }}{{ end }}
{{- $default := dict "shutdown_delay_ms" 5000 }}
{{- toYaml (mergeOverwrite $default (deepCopy .Values.gateway.config) $chart) }}
{{- end }}
