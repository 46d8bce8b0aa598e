// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// deployment as its Pods see it.
func (o objects) deployment(t testing.TB, name string) (*appsv1.Deployment, corev1.Container) {
	t.Helper()
	d := &appsv1.Deployment{}
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.get(t, "Deployment", name).Object, d, true))
	return d, d.Spec.Template.Spec.Containers[0]
}

// yamlOf an object, to look for a line in.
func yamlOf(t testing.TB, object *unstructured.Unstructured) string {
	t.Helper()
	text, err := yaml.Marshal(object.Object)
	require.NoError(t, err)
	return string(text)
}

func TestValuesDoWhatTheySay(t *testing.T) {
	for name, row := range map[string]struct {
		values string
		check  func(t *testing.T, o objects)
	}{
		"images by digest, from another registry, with a pull secret": {
			values: "image: {prefix: 'registry.example.com:5000/id', tag: v1, digests: {manager: '" + digest + "'}, pullPolicy: Always, pullSecrets: [registry]}\n" +
				"injection: {enabled: true}",
			check: func(t *testing.T, o objects) {
				manager, container := o.deployment(t, "connectedapps-manager")
				require.Equal(t, "registry.example.com:5000/id/manager@"+digest, container.Image)
				require.Equal(t, corev1.PullAlways, container.ImagePullPolicy)
				require.Equal(t, []corev1.LocalObjectReference{{Name: "registry"}}, manager.Spec.Template.Spec.ImagePullSecrets)
				_, container = o.deployment(t, "tokenserver")
				require.Equal(t, "registry.example.com:5000/id/tokenserver:v1", container.Image)
				require.Equal(t, "registry.example.com:5000/id/refresher:v1", field(t, o.get(t, "ConfigMap", "connectedapps-injection"), "data", "image"))
			},
		},
		"labels are on every object and Pod, and change no selector": {
			values: "labels: {team: identity, app.kubernetes.io/name: other}",
			check: func(t *testing.T, o objects) {
				for name, object := range o {
					require.Equal(t, "identity", object.GetLabels()["team"], name)
					require.Equal(t, "connectedapps", object.GetLabels()["app.kubernetes.io/name"], name)
				}
				for _, name := range []string{"connectedapps-manager", "tokenserver"} {
					d, _ := o.deployment(t, name)
					require.Equal(t, "identity", d.Spec.Template.Labels["team"])
					require.NotContains(t, d.Spec.Selector.MatchLabels, "team")
					require.Equal(t, "connectedapps", d.Spec.Template.Labels["app.kubernetes.io/name"])
				}
			},
		},
		"Pods go where they are told, with resources over what was there": {
			values: "manager: {resources: {limits: {memory: 1Gi}}, nodeSelector: {pool: system}, tolerations: [{key: system, operator: Exists}]," +
				" podLabels: {a: b}, podAnnotations: {c: d}, args: [--log-level=debug], replicas: 3}",
			check: func(t *testing.T, o objects) {
				d, container := o.deployment(t, "connectedapps-manager")
				require.EqualValues(t, 3, *d.Spec.Replicas)
				require.Equal(t, "1Gi", container.Resources.Limits.Memory().String())
				require.Equal(t, "64Mi", container.Resources.Requests.Memory().String())
				require.Equal(t, "--log-level=debug", container.Args[len(container.Args)-1])
				template := d.Spec.Template
				require.Equal(t, map[string]string{"pool": "system"}, template.Spec.NodeSelector)
				require.Equal(t, "system", template.Spec.Tolerations[0].Key)
				require.Equal(t, "b", template.Labels["a"])
				require.Equal(t, "d", template.Annotations["c"])
			},
		},
		"CRDs are somebody else's": {
			values: "crds: {enabled: false}",
			check:  func(t *testing.T, o objects) { o.none(t, "CustomResourceDefinition") },
		},
		"CRDs go with the release": {
			values: "crds: {keep: false}",
			check: func(t *testing.T, o objects) {
				require.NotContains(t, o.get(t, "CustomResourceDefinition", "connectedapps.connectedapps.dev").GetAnnotations(), "helm.sh/resource-policy")
			},
		},
		"CRDs and the database stay": {
			check: func(t *testing.T, o objects) {
				for _, object := range o {
					if object.GetKind() == "CustomResourceDefinition" || object.GetKind() == "PersistentVolumeClaim" {
						require.Equal(t, "keep", object.GetAnnotations()["helm.sh/resource-policy"], object.GetName())
					}
				}
			},
		},
		"for some namespaces the manager has no right to Secrets elsewhere": {
			values: "namespaces: [payments, orders]\nrestarts: true",
			check: func(t *testing.T, o objects) {
				_, container := o.deployment(t, "connectedapps-manager")
				require.Contains(t, container.Args, "--namespaces=payments,orders")
				for _, namespace := range []string{"payments", "orders", "identity"} {
					require.Contains(t, yamlOf(t, o["Role/"+namespace+"/connectedapps-manager-tenant-role"]), "statefulsets")
					binding := o["RoleBinding/"+namespace+"/connectedapps-manager-tenant-rolebinding"]
					require.Equal(t, "identity", field(t, binding, "subjects").([]any)[0].(map[string]any)["namespace"])
				}
				for name, object := range o {
					if object.GetKind() == "ClusterRole" {
						require.NotContains(t, yamlOf(t, object), "secrets", name)
					}
				}
			},
		},
		"a namespace that is the release's own is there once": {
			values: "namespaces: [identity]",
			check: func(t *testing.T, o objects) {
				require.Contains(t, o, "Role/identity/connectedapps-manager-tenant-role")
			},
		},
		"without the token server the manager makes nothing for it": {
			values: "tokenserver: {enabled: false}",
			check: func(t *testing.T, o objects) {
				for _, object := range o {
					require.NotEqual(t, "tokenserver", object.GetLabels()["app.kubernetes.io/component"])
				}
				_, container := o.deployment(t, "connectedapps-manager")
				require.Subset(t, container.Args, []string{"--bootstrap-secrets=false", "--manage-tls=false"})
			},
		},
		"a Secret, a port and replicas of your own for PostgreSQL": {
			values: "tokenserver: {replicas: 4, database: {type: postgresql, secretName: our-database, port: 6432}}",
			check: func(t *testing.T, o objects) {
				d, _ := o.deployment(t, "tokenserver")
				require.EqualValues(t, 4, *d.Spec.Replicas)
				require.Equal(t, "our-database", secretOf(d, "database"))
				require.Contains(t, yamlOf(t, o.get(t, "NetworkPolicy", "tokenserver")), "port: 6432")
				o.none(t, "PersistentVolumeClaim")
			},
		},
		"replicas that follow the load": {
			values: "tokenserver: {replicas: 4, database: {type: postgresql}, autoscaling: {enabled: true, maxReplicas: 9}}",
			check: func(t *testing.T, o objects) {
				d, _ := o.deployment(t, "tokenserver")
				require.Nil(t, d.Spec.Replicas, "an upgrade does not undo what was scaled")
				require.EqualValues(t, 9, field(t, o.get(t, "HorizontalPodAutoscaler", "tokenserver"), "spec", "maxReplicas"))
			},
		},
		"a volume that is there": {
			values: "tokenserver: {persistence: {existingClaim: ours}}",
			check: func(t *testing.T, o objects) {
				o.none(t, "PersistentVolumeClaim")
				d, _ := o.deployment(t, "tokenserver")
				require.True(t, slices.ContainsFunc(d.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool {
					return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == "ours"
				}))
			},
		},
		"a volume of another size and class, which goes with the release": {
			values: "tokenserver: {persistence: {size: 5Gi, storageClassName: fast, keep: false}}",
			check: func(t *testing.T, o objects) {
				claim := o.get(t, "PersistentVolumeClaim", "tokenserver-data")
				require.Equal(t, "5Gi", field(t, claim, "spec", "resources", "requests", "storage"))
				require.Equal(t, "fast", field(t, claim, "spec", "storageClassName"))
				require.Empty(t, claim.GetAnnotations())
			},
		},
		"keys and a certificate of your own": {
			values: "tokenserver: {encryptionKeySecretName: our-keys, tls: {secretName: our-tls}}",
			check: func(t *testing.T, o objects) {
				d, _ := o.deployment(t, "tokenserver")
				require.Equal(t, "our-keys", secretOf(d, "keys"))
				require.Equal(t, "our-tls", secretOf(d, "tls"))
				_, container := o.deployment(t, "connectedapps-manager")
				require.Subset(t, container.Args, []string{"--bootstrap-secrets=false", "--manage-tls=false"})
			},
		},
		"a certificate from cert-manager": {
			values: "tokenserver: {publicURL: 'https://id.example.com:8443'," +
				" tls: {certificate: {enabled: true, issuerRef: {name: ca, kind: ClusterIssuer}, dnsNames: [id.internal]}}}",
			check: func(t *testing.T, o objects) {
				certificate := o.get(t, "Certificate", "tokenserver")
				d, _ := o.deployment(t, "tokenserver")
				require.Equal(t, secretOf(d, "tls"), field(t, certificate, "spec", "secretName"))
				require.Equal(t, []any{"tokenserver.identity.svc", "tokenserver.identity.svc.cluster.local", "id.example.com", "id.internal"},
					field(t, certificate, "spec", "dnsNames"))
				_, container := o.deployment(t, "connectedapps-manager")
				require.Contains(t, container.Args, "--manage-tls=false")
				require.NotContains(t, container.Args, "--bootstrap-secrets=false")
			},
		},
		"an Ingress for the public URL": {
			values: "tokenserver: {publicURL: 'https://id.example.com', ingress: {enabled: true, className: nginx, tlsSecretName: id-tls," +
				" annotations: {nginx.ingress.kubernetes.io/backend-protocol: HTTPS}}}",
			check: func(t *testing.T, o objects) {
				ingress := yamlOf(t, o.get(t, "Ingress", "tokenserver"))
				for _, line := range []string{"host: id.example.com", "ingressClassName: nginx", "secretName: id-tls", "backend-protocol: HTTPS"} {
					require.Contains(t, ingress, line)
				}
				require.Equal(t, "https://id.example.com", configuration(t, o.get(t, "ConfigMap", "tokenserver-config"))["publicURL"])
			},
		},
		"a route of a Gateway, which verifies the server's certificate": {
			values: "tokenserver: {publicURL: 'https://id.example.com', gateway: {enabled: true, parentRefs: [{name: public, namespace: gateways}]}}",
			check: func(t *testing.T, o objects) {
				require.Equal(t, []any{"id.example.com"}, field(t, o.get(t, "HTTPRoute", "tokenserver"), "spec", "hostnames"))
				policy := yamlOf(t, o.get(t, "BackendTLSPolicy", "tokenserver"))
				require.Contains(t, policy, "hostname: tokenserver.identity.svc")
				require.Contains(t, policy, "name: tokenserver-ca")
			},
		},
		"a Service that is reached from outside": {
			values: "tokenserver: {service: {type: LoadBalancer, annotations: {internal: 'true'}}}",
			check: func(t *testing.T, o objects) {
				service := o.get(t, "Service", "tokenserver")
				require.Equal(t, "LoadBalancer", field(t, service, "spec", "type"))
				require.Equal(t, "true", service.GetAnnotations()["internal"])
			},
		},
		"monitors, alerts and the right to read metrics": {
			values: "monitoring: {monitors: {enabled: true, interval: 7s, labels: {release: prometheus}}, scraper: {name: prometheus, namespace: monitoring}," +
				" rules: {enabled: true, runbookURL: 'https://runbooks.example.com/'}}",
			check: func(t *testing.T, o objects) {
				for kind, name := range map[string]string{"ServiceMonitor": "connectedapps-manager", "PodMonitor": "tokenserver"} {
					monitor := o.get(t, kind, name)
					require.Equal(t, "identity", monitor.GetNamespace())
					require.Equal(t, "prometheus", monitor.GetLabels()["release"])
					require.Equal(t, "connectedapps", monitor.GetLabels()["app.kubernetes.io/name"])
					require.Contains(t, yamlOf(t, monitor), "interval: 7s")
				}
				o.get(t, "ClusterRoleBinding", "connectedapps-metrics-reader")
				rules := yamlOf(t, o.get(t, "PrometheusRule", "connectedapps"))
				require.Contains(t, rules, `kube_deployment_status_replicas_available{namespace="identity",deployment="tokenserver"}`)
				require.Contains(t, rules, "runbook_url: https://runbooks.example.com/manager-down.md")
			},
		},
		"dashboards where Grafana looks for them": {
			values: "monitoring: {dashboards: {enabled: true, labels: {grafana: ours}, annotations: {grafana_folder: Identity}}}",
			check: func(t *testing.T, o objects) {
				for _, name := range []string{"operator", "tokens", "tokenserver"} {
					configMap := o.get(t, "ConfigMap", "connectedapps-dashboard-"+name)
					require.Equal(t, "identity", configMap.GetNamespace())
					require.Equal(t, "1", configMap.GetLabels()["grafana_dashboard"])
					require.Equal(t, "ours", configMap.GetLabels()["grafana"])
					require.Equal(t, map[string]string{"grafana_folder": "Identity"}, configMap.GetAnnotations())
					require.Contains(t, field(t, configMap, "data", name+".json"), `"uid": "connectedapps-`+name+`"`)
				}
			},
		},
		"no network policies": {
			values: "networkPolicy: {enabled: false}",
			check:  func(t *testing.T, o objects) { o.none(t, "NetworkPolicy") },
		},
		"network policies beside other Pods, and an API server on another port": {
			values: "networkPolicy: {defaultDeny: false, egress: [{ports: [{protocol: TCP, port: 16443}]}]}",
			check: func(t *testing.T, o objects) {
				require.NotContains(t, o, "NetworkPolicy/identity/connectedapps-default-deny")
				for _, name := range []string{"connectedapps-manager", "tokenserver"} {
					require.Contains(t, yamlOf(t, o.get(t, "NetworkPolicy", name)), "port: 16443")
				}
			},
		},
		"a priority class that is there": {
			values: "priorityClass: {create: false, name: ours}",
			check: func(t *testing.T, o objects) {
				o.none(t, "PriorityClass")
				d, _ := o.deployment(t, "tokenserver")
				require.Equal(t, "ours", d.Spec.Template.Spec.PriorityClassName)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachHelm(t, func(h helm) { row.check(h.T, h.template("identity", row.values)) })
		})
	}
}

func (o objects) none(t *testing.T, kind string) {
	t.Helper()
	for name := range o {
		require.False(t, strings.HasPrefix(name, kind+"/"), name)
	}
}

// secretOf is the Secret of a volume.
func secretOf(d *appsv1.Deployment, volume string) string {
	for _, v := range d.Spec.Template.Spec.Volumes {
		if v.Name == volume && v.Secret != nil {
			return v.Secret.SecretName
		}
	}
	return ""
}

// people is a configuration with another user, whose password is in a Secret.
const people = `
tokenserver:
  config:
    accessTokenLifetime: 30m
    users:
    - id: 7d2f9b14-3c5a-4e86-b1d0-9f8e6a4c2b75
      organizationID: 0c4e8a52-6f3b-4d71-9a0e-2b7f5d1c8e36
      username: owner
      roles: [organization_administrator]
    - id: 2b9d7c15-4e8a-4f60-9c31-5a7e8d2f1b64
      organizationID: 0c4e8a52-6f3b-4d71-9a0e-2b7f5d1c8e36
      username: sam
      passwordHashFile: /etc/tokenserver/users/sam.hash
  secrets:
  - {name: apps, secretName: our-apps}
`

// TestTheTokenServerTakesTheConfigurationOfTheValues in every shape.
func TestTheTokenServerTakesTheConfigurationOfTheValues(t *testing.T) {
	eachHelm(t, func(h helm) {
		for name, values := range map[string]string{
			"no values": "", "PostgreSQL": "tokenserver: {database: {type: postgresql}}",
			"another URL": "tokenserver: {publicURL: 'https://id.example.com'}", "people": people,
		} {
			path := filepath.Join(h.TempDir(), "config.yaml")
			text := field(h, h.template("identity", values).get(h, "ConfigMap", "tokenserver-config"), "data", "config.yaml")
			require.NoError(h, os.WriteFile(path, []byte(text.(string)), 0o600))
			_, err := tokenserveroptions.LoadText(path)
			require.NoError(h, err, name)
		}
	})
}

// TestASettingThatNeedsARestartGetsOne and people are added without one.
func TestASettingThatNeedsARestartGetsOne(t *testing.T) {
	eachHelm(t, func(h helm) {
		template := func(values string) *appsv1.Deployment {
			d, _ := h.template("identity", values).deployment(h, "tokenserver")
			return d
		}
		before := template("")
		require.Equal(h, before.Spec, template("tokenserver: {config: {users: []}}").Spec)
		require.NotEqual(h, before.Spec, template("tokenserver: {config: {accessTokenLifetime: 30m}}").Spec)

		withPeople := template(people)
		require.Equal(h, "our-apps", secretOf(withPeople, "apps"))
		mounts := withPeople.Spec.Template.Spec.Containers[0].VolumeMounts
		require.Contains(h, mounts, corev1.VolumeMount{Name: "apps", MountPath: "/etc/tokenserver/apps", ReadOnly: true})
	})
}

func TestWrongValuesAreNamed(t *testing.T) {
	for name, row := range map[string]struct {
		values, says string
		args         []string
	}{
		"a name that is not there":       {values: "tokenserver: {replica: 2}", says: "tokenserver"},
		"a text for a number":            {values: "manager: {replicas: two}", says: "manager/replicas"},
		"a digest without its algorithm": {values: "image: {digests: {manager: abc}}", says: "image/digests/manager"},
		"a database that is not there":   {values: "tokenserver: {database: {type: mysql}}", says: "tokenserver/database/type"},
		"a public URL with a path":       {values: "tokenserver: {publicURL: 'https://id.example.com/auth'}", says: "tokenserver/publicURL"},
		"a public URL in clear":          {values: "tokenserver: {publicURL: 'http://id.example.com'}", says: "tokenserver/publicURL"},
		"a field of the configuration that the chart decides": {
			values: "tokenserver: {config: {listen: ':1'}}", says: "tokenserver/config",
		},
		"a Secret where the chart has its own":  {values: "tokenserver: {secrets: [{name: keys, secretName: x}]}", says: "tokenserver/secrets/0/name"},
		"a namespace that is none":              {values: "namespaces: [Payments]", says: "namespaces/0"},
		"a label of dashboards that is no text": {values: "monitoring: {dashboards: {labels: {grafana_dashboard: 1}}}", says: "monitoring/dashboards/labels"},
		"half a scraper":                        {values: "monitoring: {scraper: {name: prometheus}}", says: "monitoring/scraper"},
		"several replicas on SQLite": {
			values: "tokenserver: {replicas: 2}",
			says:   "tokenserver.replicas: SQLite is for one replica; set tokenserver.database.type to postgresql for several",
		},
		"an autoscaler on SQLite": {
			values: "tokenserver: {autoscaling: {enabled: true}}",
			says:   "tokenserver.autoscaling.enabled: SQLite is for one replica",
		},
		"fewer replicas at most than at least": {
			values: "tokenserver: {database: {type: postgresql}, autoscaling: {enabled: true, minReplicas: 6}}",
			says:   "tokenserver.autoscaling.minReplicas: must not be more than maxReplicas",
		},
		"an Ingress without a host": {
			values: "tokenserver: {ingress: {enabled: true}}", says: "tokenserver.ingress.enabled: needs tokenserver.publicURL",
		},
		"a route without a host": {
			values: "tokenserver: {gateway: {enabled: true, parentRefs: [{name: x}]}}", says: "tokenserver.gateway.enabled: needs tokenserver.publicURL",
		},
		"a route without a Gateway": {
			values: "tokenserver: {publicURL: 'https://id.example.com', gateway: {enabled: true}}", says: "tokenserver.gateway.parentRefs: is required",
		},
		"a route to a certificate that nobody can verify": {
			values: "tokenserver: {publicURL: 'https://id.example.com', tls: {secretName: x}, gateway: {enabled: true, parentRefs: [{name: x}]}}",
			says:   "tokenserver.gateway.caConfigMapName: is required",
		},
		"two certificates": {
			values: "tokenserver: {tls: {secretName: x, certificate: {enabled: true, issuerRef: {name: ca}}}}",
			says:   "tokenserver.tls.secretName: cannot be set with tokenserver.tls.certificate.enabled",
		},
		"a certificate of nobody": {
			values: "tokenserver: {tls: {certificate: {enabled: true}}}", says: "tokenserver.tls.certificate.issuerRef: is required",
		},
		"injection on a cluster that has none": {
			values: "injection: {enabled: true}", args: []string{"--kube-version=1.35.2"}, says: "injection.enabled: needs Kubernetes 1.36, and this is v1.35.2",
		},
		"a cluster that is too old": {args: []string{"--kube-version=1.32.9"}, says: "chart requires kubeVersion: >=1.33.0-0"},
	} {
		t.Run(name, func(t *testing.T) {
			eachHelm(t, func(h helm) {
				_, stderr, err := h.try(append([]string{"template", "connectedapps", chartFolder, "--values=" + h.values(row.values)}, row.args...)...)
				require.Error(h, err)
				require.Contains(h, stderr, row.says)
			})
		})
	}
}

// TestTheSchemaHasEveryValue that values.yaml has, and no other: what the table
// does not tell cannot be set.
func TestTheSchemaHasEveryValue(t *testing.T) {
	read := func(name string, into any) {
		text, err := os.ReadFile(filepath.Join(chartFolder, name))
		require.NoError(t, err)
		require.NoError(t, yaml.Unmarshal(text, into))
	}
	var values map[string]any
	read("values.yaml", &values)
	var schema map[string]any
	read("values.schema.json", &schema)
	properties := schema["properties"].(map[string]any)
	delete(properties, "global") // Helm's
	var compare func(path string, values, properties map[string]any)
	compare = func(path string, values, properties map[string]any) {
		for name, property := range properties {
			require.Contains(t, values, name, "values.yaml has no %s%s", path, name)
			nested, _ := property.(map[string]any)["properties"].(map[string]any)
			below, _ := values[name].(map[string]any)
			if nested != nil && len(below) > 0 {
				compare(path+name+".", below, nested)
			}
		}
		for name := range values {
			require.Contains(t, properties, name, "values.schema.json has no %s%s", path, name)
		}
	}
	compare("", values, properties)
}

func TestLintFindsNothing(t *testing.T) {
	eachHelm(t, func(h helm) {
		for name, values := range map[string]string{"SQLite": "", "PostgreSQL": "tokenserver: {database: {type: postgresql}}", "people": people} {
			out := h.run("lint", chartFolder, "--strict", "--values="+h.values(values))
			require.Contains(h, out, "0 chart(s) failed", name)
			require.NotContains(h, out, "[WARNING]", name)
		}
	})
}

// TestTheSameValuesRenderTheSame text: GitOps tools render again and again.
func TestTheSameValuesRenderTheSame(t *testing.T) {
	eachHelm(t, func(h helm) {
		render := func() string { return h.run("template", "connectedapps", chartFolder, "--namespace=identity") }
		first := render()
		require.Equal(h, first, render())
		require.NotContains(h, first, systemNamespace, "all of it is in the namespace of the release")
	})
}
