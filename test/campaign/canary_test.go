// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
)

// traces is all that the run leaves where others read it: logs, metrics, events
// and every version of every object of ours. It is safe for use by several
// goroutines and processes.
type traces struct {
	mu   sync.Mutex
	file *os.File
}

func newTraces(t testing.TB) *traces {
	t.Helper()
	file, err := os.OpenFile(cmp.Or(os.Getenv(envTraces), filepath.Join(t.TempDir(), "traces")), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return &traces{file: file}
}

func (s *traces) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file.Write(p)
}

// watch writes down every version of the kinds of objects until the test ends.
func (s *traces) watch(t testing.TB, lists ...client.ObjectList) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var all sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	for _, list := range lists {
		watcher, err := plane.Client.Watch(ctx, list)
		require.NoError(t, err)
		all.Go(func() {
			defer watcher.Stop()
			for event := range watcher.ResultChan() {
				if o, ok := event.Object.(client.Object); ok {
					o.SetManagedFields(nil)
				}
				text, _ := json.Marshal(event.Object)
				_, _ = fmt.Fprintf(s, "%T %s\n", event.Object, text)
			}
		})
	}
}

// needle is how much of a secret must be found to say that it leaked: a part
// from its middle, so that one that is cut short is found as well.
const needle = 16

// disclosed returns what leaked, with the lines it was found in.
func (v *vault) disclosed(text []byte) map[string]string {
	v.mu.Lock()
	defer v.mu.Unlock()
	parts := map[string]string{}
	for value, what := range v.secrets {
		from := len(value)/2 - needle/2
		if token := strings.LastIndexByte(value, '.'); token > 0 && strings.HasPrefix(value, "eyJ") {
			from = token + 1 // the signature: the rest of a JSON Web Token is no secret
		}
		parts[value[from:from+needle]] = what
		encoded := base64.StdEncoding.EncodeToString([]byte(value))
		parts[encoded[:needle]] = what + ", in base64"
	}
	found := map[string]string{}
	for line := range bytes.Lines(text) {
		for i := 0; i+needle <= len(line); i++ {
			if what, ok := parts[string(line[i:i+needle])]; ok && found[what] == "" {
				found[what] = string(line[max(0, i-400):min(len(line), i+100)])
			}
		}
	}
	return found
}

// keepSecrets adds what is in Secrets of the cluster, certificates and addresses
// aside.
func (v *vault) keepSecrets(t testing.TB) {
	t.Helper()
	var secrets corev1.SecretList
	require.NoError(t, plane.Client.List(t.Context(), &secrets))
	for i := range secrets.Items {
		s := &secrets.Items[i]
		for key, value := range s.Data {
			switch {
			case strings.HasSuffix(key, ".key"):
				v.keepKey(t, s.Name+"/"+key, value)
			case strings.Contains(key, "client-secret"), strings.Contains(key, "password"), strings.Contains(key, "encryption"), key == "access-token":
				v.keep(s.Name+"/"+key, string(value))
			}
		}
	}
}

// keepKey adds the private part of a key in PEM, line by line. The rest of the
// file is the public key, which stands in certificates as well.
func (v *vault) keepKey(t testing.TB, what string, text []byte) {
	t.Helper()
	block, _ := pem.Decode(text)
	require.NotNil(t, block, what)
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		require.NoError(t, err, what)
		key = parsed.(*ecdsa.PrivateKey)
	}
	private, err := key.Bytes()
	require.NoError(t, err, what)
	from := bytes.Index(block.Bytes, private)
	require.NotEqual(t, -1, from, what)
	to := from + len(private)
	for line := 0; line < to; line += pemLine {
		first, last := (max(from, line)+2)/3*3, min(to, line+pemLine)/3*3
		if first < last {
			v.keep(what, base64.StdEncoding.EncodeToString(block.Bytes[first:last]))
		}
	}
}

// pemLine is how many bytes a line of PEM holds.
const pemLine = 48

// requireNoSecretIn looks through all that was left behind.
func (c *campaign) requireNoSecretIn() {
	c.Helper()
	c.vault.keepSecrets(c)
	require.NoError(c, c.traces.file.Sync())
	text, err := os.ReadFile(c.traces.file.Name())
	require.NoError(c, err)
	c.Logf("%d secrets, %d KiB of logs, metrics, events and objects", len(c.vault.secrets), len(text)>>10)
	require.Greater(c, len(c.vault.secrets), c.apps)
	for _, sign := range []string{"level=DEBUG", "*v1alpha1.ConnectedApp {", "*v1.Event {", "controller_runtime_reconcile_total"} {
		require.Contains(c, string(text), sign, "what was to be looked through is not there")
	}
	require.Empty(c, c.vault.disclosed(text))
}

func TestADisclosedSecretIsFound(t *testing.T) {
	v := newVault()
	v.read([]byte(`{"client_secret":"cas_0123456789abcdefghij","access_token":"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2lnbmF0dXJlc2lnbmF0dXJl"}`))
	require.Empty(t, v.disclosed([]byte("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0. and cas_01234567 are harmless")))
	require.Contains(t, v.disclosed([]byte("a part, cas_0123456789abcdefg, is enough")), "client_secret")
	require.Contains(t, v.disclosed([]byte("token eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2lnbmF0dXJlc2lnbmF0dXJl")), "access_token")
	require.Contains(t, v.disclosed([]byte(`data: `+base64.StdEncoding.EncodeToString([]byte("cas_0123456789abcdefghij")))), "client_secret, in base64")
}

func TestTheDisclosedPrivatePartOfAKeyIsFound(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	sec1, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for _, block := range []*pem.Block{{Type: "EC PRIVATE KEY", Bytes: sec1}, {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		v := newVault()
		text := pem.EncodeToMemory(block)
		v.keepKey(t, "tls.key", text)
		require.Contains(t, v.disclosed(text), "tls.key")
		for shift := range 3 { // the point may stand anywhere in a certificate
			require.Empty(t, v.disclosed(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: append(make([]byte, shift), public...)})))
		}
	}
}

// watchEverything has the traces of the cluster written down.
func (c *campaign) watchEverything() {
	c.traces.watch(c, &v1alpha1.ConnectedAppList{}, &v1alpha1.TokenServerList{}, &v1alpha1.AccessTokenList{}, &eventsv1.EventList{}, &corev1.ConfigMapList{})
}

// scrape writes down the metrics of what lives.
func (c *campaign) scrape(manager *process) {
	_, _ = c.traces.Write(fetch(c, manager.metrics))
	if address := c.server.metrics(); address != "" {
		_, _ = c.traces.Write(fetch(c, address))
	}
}

// patience is how long it may take on a busy machine until all is well after
// the last kill.
const patience = 3 * time.Minute
