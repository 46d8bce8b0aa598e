{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- /*
The objects are those of config/, which make manifests writes to files/, one in
each: a template takes one, changes what values say and prints it. The namespace
of config/ is always the same and becomes the release's.
*/ -}}

{{- /* An object: (list $ "default/service-tokenserver"), as YAML. */ -}}
{{- define "connectedapps.object" -}}
{{- $root := index . 0 -}}
{{- $root.Files.Get (printf "files/%s.yaml" (index . 1)) | replace "connectedapps-system" $root.Release.Namespace -}}
{{- end -}}

{{- /* The token server's, of its database: (list $ "deployment-tokenserver"). */ -}}
{{- define "connectedapps.tokenserverObject" -}}
{{- $root := index . 0 -}}
{{- $folder := "default" -}}
{{- if and (eq $root.Values.tokenserver.database.type "postgresql") ($root.Files.Get (printf "files/postgresql/%s.yaml" (index . 1))) -}}
{{- $folder = "postgresql" -}}
{{- end -}}
{{- include "connectedapps.object" (list $root (printf "%s/%s" $folder (index . 1))) -}}
{{- end -}}

{{- /* Labels of every object. */ -}}
{{- define "connectedapps.labels" -}}
{{- $labels := dict
  "app.kubernetes.io/name" "connectedapps"
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/version" (regexReplaceAll "[^A-Za-z0-9_.-]" .Chart.AppVersion "_")
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- merge $labels .Values.labels | toYaml -}}
{{- end -}}

{{- /* Prints an object with these: (list $ $object). */ -}}
{{- define "connectedapps.print" -}}
{{- $object := index . 1 -}}
{{- $labels := include "connectedapps.labels" (index . 0) | fromYaml -}}
{{- $_ := set $object.metadata "labels" (merge (default dict $object.metadata.labels) $labels) -}}
---
{{ toYaml $object }}
{{ end -}}

{{- /* Prints objects as they are: (list $ "default/service-tokenserver" …). */ -}}
{{- define "connectedapps.printAll" -}}
{{- $root := first . -}}
{{- range rest . -}}
{{- include "connectedapps.print" (list $root (include "connectedapps.object" (list $root .) | fromYaml)) -}}
{{- end -}}
{{- end -}}

{{- /* An image: (list $ "manager"). */ -}}
{{- define "connectedapps.image" -}}
{{- $image := (index . 0).Values.image -}}
{{- $digest := index $image.digests (index . 1) -}}
{{- $image.prefix }}/{{ index . 1 }}{{ if $digest }}@{{ $digest }}{{ else }}:{{ default (index . 0).Chart.AppVersion $image.tag }}{{ end -}}
{{- end -}}

{{- /*
Changes a Deployment as the values of manager and tokenserver say that both have:
(list $ $deployment "manager").
*/ -}}
{{- define "connectedapps.pods" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 2) -}}
{{- $template := (index . 1).spec.template -}}
{{- $pod := $template.spec -}}
{{- $container := first $pod.containers -}}
{{- $_ := set $container "image" (include "connectedapps.image" (list $root (index . 2))) -}}
{{- with $root.Values.image.pullPolicy }}{{ $_ := set $container "imagePullPolicy" . }}{{ end -}}
{{- with $root.Values.image.pullSecrets }}
{{- $secrets := list -}}
{{- range . }}{{ $secrets = append $secrets (dict "name" .) }}{{ end -}}
{{- $_ := set $pod "imagePullSecrets" $secrets -}}
{{- end -}}
{{- $_ := set $container "args" (concat $container.args $values.args) -}}
{{- $_ := set $container "resources" (mergeOverwrite $container.resources (deepCopy $values.resources)) -}}
{{- $_ := set $pod "priorityClassName" $root.Values.priorityClass.name -}}
{{- range $field := tuple "nodeSelector" "tolerations" "affinity" -}}
{{- with index $values $field }}{{ $_ := set $pod $field . }}{{ end -}}
{{- end -}}
{{- $_ := set $template.metadata "labels" (merge $template.metadata.labels $values.podLabels $root.Values.labels) -}}
{{- $_ := set $template.metadata "annotations" (merge $template.metadata.annotations $values.podAnnotations) -}}
{{- end -}}

{{- /* Prints a NetworkPolicy with the values' rules: (list $ $policy). */ -}}
{{- define "connectedapps.printNetworkPolicy" -}}
{{- $root := index . 0 -}}
{{- $policy := index . 1 -}}
{{- if $root.Values.networkPolicy.enabled -}}
{{- $_ := set $policy.spec "egress" (concat $policy.spec.egress $root.Values.networkPolicy.egress) -}}
{{- include "connectedapps.print" (list $root $policy) -}}
{{- end -}}
{{- end -}}

{{- /* Prints what has metrics read, as often as values say: (list $ "monitors/podmonitor-tokenserver"). */ -}}
{{- define "connectedapps.printMonitor" -}}
{{- $root := index . 0 -}}
{{- $monitors := $root.Values.monitoring.monitors -}}
{{- $object := include "connectedapps.object" (list $root (index . 1)) | fromYaml -}}
{{- range concat (default list $object.spec.endpoints) (default list $object.spec.podMetricsEndpoints) -}}
{{- $_ := set . "interval" $monitors.interval -}}
{{- end -}}
{{- $_ := set $object.metadata "labels" (merge $object.metadata.labels $monitors.labels) -}}
{{- include "connectedapps.print" (list $root $object) -}}
{{- end -}}

{{- /* Where Pods of the cluster reach the token server. */ -}}
{{- define "connectedapps.internalURL" -}}
https://tokenserver.{{ .Release.Namespace }}.svc
{{- end -}}

{{- define "connectedapps.publicURL" -}}
{{- .Values.tokenserver.publicURL | default (include "connectedapps.internalURL" .) -}}
{{- end -}}

{{- /* Host of publicURL, without a port. */ -}}
{{- define "connectedapps.publicHost" -}}
{{- regexReplaceAll ":[0-9]+$" (urlParse (include "connectedapps.publicURL" .)).host "" -}}
{{- end -}}

{{- /* Whether the manager makes the token server's certificate: empty or true. */ -}}
{{- define "connectedapps.managesTLS" -}}
{{- $server := .Values.tokenserver -}}
{{- if and $server.enabled (not $server.tls.secretName) (not $server.tls.certificate.enabled) }}true{{ end -}}
{{- end -}}

{{- /* The Secret with the token server's certificate. */ -}}
{{- define "connectedapps.tlsSecretName" -}}
{{- $tls := .Values.tokenserver.tls -}}
{{- if $tls.certificate.enabled }}tokenserver-certificate{{ else }}{{ $tls.secretName | default "tokenserver-tls" }}{{ end -}}
{{- end -}}
