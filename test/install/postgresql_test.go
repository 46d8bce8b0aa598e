// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/postgresql"
)

// postgresqlServer is the token server of config/postgresql, and its configuration.
func postgresqlServer(t *testing.T) (*appsv1.Deployment, string) {
	t.Helper()
	var configuration string
	for _, c := range objectsIn[corev1.ConfigMap](t, config("postgresql"), "ConfigMap") {
		if c.Name == "tokenserver-config" {
			configuration = c.Data["config.yaml"]
		}
	}
	require.NotEmpty(t, configuration)
	for _, d := range deploymentsOf(t, "postgresql") {
		if d.Name == "tokenserver" {
			return d, configuration
		}
	}
	require.Fail(t, "no token server")
	return nil, ""
}

func TestReplicasOnPostgreSQLRollOutWithoutAPause(t *testing.T) {
	d, _ := postgresqlServer(t)
	require.Greater(t, *d.Spec.Replicas, int32(1))
	require.Equal(t, appsv1.RollingUpdateDeploymentStrategyType, d.Spec.Strategy.Type)
	require.Equal(t, intstr.FromInt32(0), *d.Spec.Strategy.RollingUpdate.MaxUnavailable)
	require.Len(t, d.Spec.Template.Spec.TopologySpreadConstraints, 1)
	spread := d.Spec.Template.Spec.TopologySpreadConstraints[0]
	require.Equal(t, corev1.ScheduleAnyway, spread.WhenUnsatisfiable, "one node is enough")
	require.Equal(t, d.Spec.Selector, spread.LabelSelector)

	var budgets []*policyv1.PodDisruptionBudget
	for _, b := range objectsIn[policyv1.PodDisruptionBudget](t, config("postgresql"), "PodDisruptionBudget") {
		if b.Name == d.Name {
			budgets = append(budgets, b)
		}
	}
	require.Len(t, budgets, 1)
	require.Equal(t, d.Spec.Selector, budgets[0].Spec.Selector)
	require.Equal(t, intstr.FromInt32(1), *budgets[0].Spec.MaxUnavailable)

	// It goes on taking requests until the Service has noticed, and has the time to
	// finish them: at most 25 s, and 5 s for what is to be written.
	require.Contains(t, d.Spec.Template.Spec.Containers[0].Args, "--drain-delay=5s")
	require.Greater(t, *d.Spec.Template.Spec.TerminationGracePeriodSeconds, int64(30))
	probe := d.Spec.Template.Spec.Containers[0].ReadinessProbe
	require.Equal(t, "/readyz", probe.HTTPGet.Path)
}

// TestTheDatabaseOfTheReplicasIsInFiles and nothing of it in the environment, and
// nothing of SQLite is left.
func TestTheDatabaseOfTheReplicasIsInFiles(t *testing.T) {
	d, configuration := postgresqlServer(t)
	path := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(path, []byte(configuration), 0o600))
	loaded, err := tokenserveroptions.LoadText(path)
	require.NoError(t, err)
	require.Empty(t, loaded.Warnings)
	database := loaded.Config.Storage.PostgreSQL
	require.NotNil(t, database)
	for _, file := range append(loaded.Config.Files(), loaded.Config.Bootstrap.AdminClient.ClientSecretFile) {
		if !strings.HasPrefix(file, "/var/run/secrets/") {
			require.NotNil(t, mountOf(d, filepath.Dir(file)), "%s is in a volume", file)
		}
	}
	for _, file := range []string{database.URLFile, database.PasswordFile, database.CAFile} {
		require.Equal(t, "database", mountOf(d, filepath.Dir(file)).Name)
	}
	for _, v := range d.Spec.Template.Spec.Containers[0].Env {
		require.True(t, v.ValueFrom == nil || v.ValueFrom.SecretKeyRef == nil, v.Name)
	}
	for _, v := range d.Spec.Template.Spec.Volumes {
		require.Nil(t, v.PersistentVolumeClaim, v.Name)
	}
	require.Empty(t, objectsIn[corev1.PersistentVolumeClaim](t, config("postgresql"), "PersistentVolumeClaim"))

	// The file is that of the bundled install in everything else.
	require.Equal(t, withoutStorage(t, bundledConfig(t)), withoutStorage(t, configuration))
}

func withoutStorage(t *testing.T, configuration string) string {
	t.Helper()
	_, rest, found := strings.Cut(configuration, "\npublicURL:")
	require.True(t, found)
	head, rest, found := strings.Cut(rest, "\nstorage:")
	require.True(t, found)
	_, tail, found := strings.Cut(rest, "\nencryptionKeyFiles:")
	require.True(t, found)
	return head + tail
}

func TestReplicasReachTheirDatabaseAndNobodyElseDoes(t *testing.T) {
	n := network{T: t, policies: objectsIn[networkingv1.NetworkPolicy](t, config("postgresql"), "NetworkPolicy")}
	for _, d := range deploymentsOf(t, "postgresql") {
		require.Equal(t, d.Name == "tokenserver", n.sends(d.Spec.Template.Labels, corev1.ProtocolTCP, 5432), d.Name)
		require.True(t, n.sends(d.Spec.Template.Labels, corev1.ProtocolTCP, 443), d.Name)
	}
}

// TestACopyForPostgreSQLKeepsItsConfiguration, in another namespace too: nothing that
// is taken over puts a file in its place.
func TestACopyForPostgreSQLKeepsItsConfiguration(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join(root, "config"))))
	ours := filepath.Join(dir, "ours")
	require.NoError(t, os.CopyFS(ours, os.DirFS(config("postgresql"))))
	for file, change := range map[string][2]string{
		"config.yaml": {"name: Main", "name: Ours"}, "kustomization.yaml": {"resources:", "namespace: identity\nresources:"},
	} {
		text, err := os.ReadFile(filepath.Join(ours, file))
		require.NoError(t, err)
		require.Contains(t, string(text), change[0])
		require.NoError(t, os.WriteFile(filepath.Join(ours, file), []byte(strings.Replace(string(text), change[0], change[1], 1)), 0o600))
	}
	found := 0
	for _, c := range objectsIn[corev1.ConfigMap](t, ours, "ConfigMap") {
		if c.Name == "tokenserver-config" {
			found++
			require.Equal(t, "identity", c.Namespace)
			require.Contains(t, c.Data["config.yaml"], "name: Ours")
			require.Contains(t, c.Data["config.yaml"], "urlFile:")
		}
	}
	require.Equal(t, 1, found)
	for _, d := range deploymentsIn(t, ours) {
		require.Equal(t, "identity", d.Namespace)
	}
	require.Len(t, objectsIn[policyv1.PodDisruptionBudget](t, ours, "PodDisruptionBudget"), 2)
}

// TestTheAPIServerTakesReplicas in place of the one on SQLite, and the one back.
func TestTheAPIServerTakesReplicas(t *testing.T) {
	install(t)
	t.Cleanup(func() { leavePostgreSQL(t) })
	for range 2 {
		kubectl(t, "", "apply", "--server-side", "-k", config("postgresql"))
	}
	require.Empty(t, kubectl(t, "", "diff", "--server-side", "-k", config("postgresql")))
	d, _ := postgresqlServer(t)
	kubectl(t, podOf(t, d), "create", "--dry-run=server", "-f", "-")
	d.Spec.Template.Spec.Containers[0].SecurityContext = nil
	_, stderr, err := tryKubectl(t, podOf(t, d), "create", "--dry-run=server", "-f", "-")
	require.Error(t, err)
	require.Contains(t, stderr, `violates PodSecurity "restricted`, "the level is enforced")
	install(t)
	require.Equal(t, "Recreate", kubectl(t, "", "get", "deployment", "-n", systemNamespace, "tokenserver", "-o", "jsonpath={.spec.strategy.type}"))
}

// leavePostgreSQL goes back to config/default, for the tests after this one.
func leavePostgreSQL(t *testing.T) {
	for _, args := range [][]string{
		{"apply", "--server-side", "-k", config("default")},
		{"delete", "pdb", "-n", systemNamespace, "tokenserver", "--ignore-not-found"},
		{"delete", "secret", "-n", systemNamespace, "tokenserver-database", "--ignore-not-found"},
	} {
		command := exec.CommandContext(context.WithoutCancel(t.Context()), kubectlPath, append([]string{"--kubeconfig=" + kubeconfig}, args...)...)
		out, err := command.CombinedOutput()
		require.NoError(t, err, string(out))
	}
}

// startDatabase starts a PostgreSQL server that speaks TLS with a certificate of its
// own, and makes the database of docs/tokenserver-postgresql.md.
func startDatabase(t *testing.T) (server *postgresql.Server, certificate string) {
	t.Helper()
	server, err := postgresql.Start(t.Context(), postgresql.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write := func(file, text string) string {
		return `COPY (SELECT unnest(string_to_array('` + text + `', E'\n'))) TO PROGRAM 'umask 077; cat > ` + file + `'`
	}
	for _, statement := range []string{
		// Its folder belongs to another user than the test's.
		write("server.crt", certificate), write("server.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))),
		`ALTER SYSTEM SET ssl = on`, `SELECT pg_reload_conf()`,
		`CREATE DATABASE tokenserver OWNER tokenserver ENCODING 'UTF8' TEMPLATE template0`,
	} {
		require.NoError(t, server.Exec(t.Context(), "postgres", statement))
	}
	return server, certificate
}

// token asks the server at an address for one, as an app with the credentials of its
// Secret.
func (b *bundled) token(address, secret string) string {
	b.Helper()
	credentials := b.secret(b.namespace, secret, exists).Data
	command := exec.CommandContext(b.Context(), "curl", "-sS", "--fail-with-body", "--cacert", filepath.Join(b.files, "tls", "ca.crt"),
		"https://"+address+"/accounts/api/v2/oauth2/token", "-d", "grant_type=client_credentials", "--data-urlencode", "client_id@-", "-d",
		"client_secret="+string(credentials["client-secret"]))
	command.Stdin = strings.NewReader(string(credentials["client-id"]))
	out, err := command.CombinedOutput()
	require.NoError(b, err, string(out))
	var body struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(b, json.Unmarshal(out, &body), string(out))
	require.NotEmpty(b, body.AccessToken)
	return body.AccessToken
}

// TestThePostgreSQLPageLeadsToReplicasThatGiveTokens runs the commands of the page,
// and what they install as the kubelet would: two servers with the rendered
// configuration, its Secrets and a real database.
func TestThePostgreSQLPageLeadsToReplicasThatGiveTokens(t *testing.T) {
	b := newBundled(t, "replicas")
	t.Cleanup(func() { leavePostgreSQL(t) })
	database, authority := startDatabase(t)
	folder := t.TempDir()
	require.NoError(t, os.Symlink(absolute(t, filepath.Join(root, "config")), filepath.Join(folder, "config")))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "password"), []byte(postgresql.Password+"\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ca.crt"), []byte(authority), 0o600))
	url := fmt.Sprintf("postgresql://tokenserver@127.0.0.1:%d/tokenserver?sslmode=verify-full", database.Port)
	runScript(t, folder, scriptOf(t, "tokenserver-postgresql.md", "## In Kubernetes"), "postgresql://tokenserver@db.example.com:5432/tokenserver", url)

	b.startManager()
	b.kustomization = config("postgresql")
	_, configuration := postgresqlServer(t)
	b.startServer(configuration)
	server := b.sample("postgresql")
	b.create(server)
	b.ready(server)
	app := b.register(server, "app")
	require.NotEmpty(t, b.token(b.public, app.Status.Binding.Name))

	first := b.listen
	b.listen, b.operations = testenv.FreeAddress(t), testenv.FreeAddress(t)
	b.startServer(configuration)
	require.NotEqual(t, first, b.listen)
	require.NotEmpty(t, b.token(b.listen, app.Status.Binding.Name), "an app of the one is one of the other")

	conn, err := database.Connect(t.Context(), "postgres")
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var plain, encrypted int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE NOT ssl), count(*) FILTER (WHERE ssl)
		FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'tokenserver'`).Scan(&plain, &encrypted))
	require.Zero(t, plain)
	require.Positive(t, encrypted)
	require.NotContains(t, b.output.String(), postgresql.Password)
	b.delete(app)
	b.delete(server)
}
