// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/testenv"
)

// What the environment may change: the seed, and how long the campaign is.
const (
	envSeed  = "CAMPAIGN_SEED"
	envKills = "CAMPAIGN_KILLS"
	envApps  = "CAMPAIGN_APPS"
	// envTraces names a file for what otherwise goes with the test.
	envTraces = "CAMPAIGN_TRACES"
)

// campaign is a cluster and a token server in which processes die.
type campaign struct {
	*testing.T
	apps  int
	kills int

	random      *rand.Rand
	vault       *vault
	traces      *traces
	gateway     *gateway
	server      server
	admin       *registrar.Client // straight to the server
	api         string            // the API server as managers reach it
	namespace   string
	tokenServer string
	publicKey   string

	subjects                  map[string]*subject
	made, deleted, taken      int
	bystanders                map[string]bool // client ids that are nobody's of ours
	atSteps, atRest, onServer int             // kills
	struck                    map[string]int  // what managers died at
	apiKnife                  *atomic.Pointer[knife]
}

func TestKillsLoseNothingOnOurServer(t *testing.T) {
	c := prepare(t)
	c.server = newOurs(t, c.gateway.URL, c.traces)
	c.run()
}

func TestKillsLoseNothingOnAPlainPlatform(t *testing.T) {
	c := prepare(t)
	c.server = newPlain(t, c.gateway.URL)
	c.run()
}

func (c *campaign) run() {
	c.begin()
	began := time.Now()
	for c.atSteps+c.atRest+c.onServer < c.kills {
		c.life()
	}
	c.Logf("%d managers died at a step, %d at rest, and %d token servers in %s; %d kinds of steps; %d errors in place of answers; %d apps, %d deleted, %d clients taken away",
		c.atSteps, c.atRest, c.onServer, time.Since(began).Round(time.Second), len(c.struck), c.gateway.faults, c.made, c.deleted, c.taken)
	for step, times := range c.struck {
		c.Logf("died %3d times at %s", times, step)
	}
	c.gateway.fail(0)
	c.Run("all is well in the end", func(t *testing.T) {
		inner := *c
		inner.T = t
		inner.settle()
	})
	c.Run("no secret was disclosed", func(t *testing.T) {
		inner := *c
		inner.T = t
		inner.requireNoSecretIn()
	})
}

func number(t testing.TB, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

func prepare(t *testing.T) *campaign {
	seed := number(t, envSeed, int(rand.Uint32()))
	t.Logf("to repeat the choices of this run: %s=%d", envSeed, seed)
	c := &campaign{
		T: t, apps: number(t, envApps, 30), kills: number(t, envKills, 60),
		random: rand.New(rand.NewPCG(uint64(seed), 1)), vault: newVault(), traces: newTraces(t),
		subjects: map[string]*subject{}, bystanders: map[string]bool{}, struck: map[string]int{}, apiKnife: &atomic.Pointer[knife]{},
	}
	c.gateway = newGateway(t, c.vault, uint64(seed))
	c.publicKey = newPublicKey(t)
	return c
}

func newPublicKey(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// begin starts the token server, makes its TokenServer, and clients of others on
// it.
func (c *campaign) begin() {
	c.server.start(c)
	c.gateway.open(c.server.address())
	c.openAPI()
	c.watchEverything()
	id, secret := c.server.credentials()
	c.vault.keep("administrator's secret", secret)
	var err error
	c.admin, err = registrar.New(registrar.Config{
		URL: c.gateway.URL, InternalURL: c.server.address(), ClientID: id, ClientSecret: secret, RequestsPerSecond: 10000,
	})
	require.NoError(c, err)
	for _, name := range []string{"app-001", "bystander"} {
		made, err := c.admin.Register(c.Context(), "", registrar.Fields{
			ClientName: &name, GrantTypes: &[]string{oauth.GrantClientCredentials}, Audience: new(oauth.AudienceInternal),
			RedirectURIs: &[]string{}, PublicKeys: &[]string{}, Scopes: &[]string{},
		})
		require.NoError(c, err)
		c.bystanders[made.App.ClientID] = true
	}
	c.namespace = plane.Namespace(c, nil)
	c.tokenServer = c.namespace
	makeTokenServer(c, c.tokenServer, c.gateway.URL, id, secret, func(s *v1alpha1.TokenServer) {
		s.Spec.DeletionTimeout = &metav1.Duration{Duration: time.Second}
		s.Spec.RequestsPerSecond = new(int32(1000))
	})
	for range c.apps / 5 {
		c.create()
	}
	c.makeAccessTokens()
}

// makeAccessTokens has tokens put into Secrets, for apps that are there from the
// beginning and those to come; some may go before their time.
func (c *campaign) makeAccessTokens() {
	for i := 0; i < c.apps; i += c.apps / 10 {
		name := appName(i)
		plane.Create(c, &v1alpha1.AccessToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name},
			Spec:       v1alpha1.AccessTokenSpec{ConnectedAppRef: v1alpha1.ConnectedAppReference{Name: name}},
		})
	}
}

// makeTokenServer makes a TokenServer for a running token server.
func makeTokenServer(t testing.TB, name, url, id, secret string, change func(*v1alpha1.TokenServer)) {
	t.Helper()
	credentials := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.SystemNamespace, Name: name},
		StringData: map[string]string{"client-id": id, "client-secret": secret},
	}
	plane.Create(t, credentials)
	server := &v1alpha1.TokenServer{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.TokenServerSpec{
			URL: url,
			Credentials: v1alpha1.TokenServerCredentials{
				Type: v1alpha1.TokenServerCredentialsSecret, SecretRef: &v1alpha1.SecretReference{Name: name},
			},
			Access: []v1alpha1.AccessRule{testenv.AllowAll("all")},
		},
	}
	change(server)
	plane.Create(t, server)
}

// openAPI puts the knife between managers and the API server.
func (c *campaign) openAPI() {
	onward, err := rest.TransportFor(plane.Config)
	require.NoError(c, err)
	c.apiKnife.Store(blunt())
	s := httptest.NewServer(proxy(plane.Config.Host, c.toAPI(onward), nil))
	c.Cleanup(s.Close)
	c.api = s.URL
}
