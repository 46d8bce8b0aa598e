// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

func TestAServerThatIsWellTellsWhoItIs(t *testing.T) {
	w := newWorld(t)
	server := w.tokenServer()
	missing := w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonCredentialsMissing)
	require.Contains(t, missing.Message, "there is no Secret "+w.name)
	require.Equal(t, status.InProgressStatus, testenv.KStatus(t, server))

	w.create(w.credentials(w.server.AdminClientSecret))
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	require.Equal(t, status.CurrentStatus, testenv.KStatus(t, server))
	require.Equal(t, w.server.URL+oauth.IssuerPath, server.Status.Issuer)
	require.Equal(t, tokenservertest.OrgID, server.Status.OrganizationID)
	require.NotEmpty(t, server.Status.InstallationID)
	require.Equal(t, w.server.URL+oauth.PathToken, server.Status.Endpoints.Token)
	require.Equal(t, w.server.URL+oauth.PathJWKS, server.Status.Endpoints.JWKS)
	require.Subset(t, server.Status.Extensions, []string{oauth.ExtensionExternalID, oauth.ExtensionRevision, oauth.ExtensionSecrets})
}

func TestAServerThatIsWellIsWrittenOnce(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	version, probed := server.ResourceVersion, w.probes.Load()
	testenv.Eventually(t, func(c *require.Assertions) { c.Greater(w.probes.Load(), probed+2) })
	require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKeyFromObject(server), server))
	require.Equal(t, version, server.ResourceVersion, "to find nothing new is not written")
}

// answer is a handler of one answer.
func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestEveryTroubleHasAReasonAndPasses(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	issuer := server.Status.Issuer
	for name, test := range map[string]struct {
		fault  http.HandlerFunc
		reason string
	}{
		"an HTML page":      {answer(200, "text/html", "<html>Welcome</html>"), v1alpha1.ReasonInvalidAnswer},
		"a proxy's 404":     {answer(404, "text/html", "<html>404</html>"), v1alpha1.ReasonInvalidAnswer},
		"half a document":   {answer(200, "application/json", `{"issuer":`), v1alpha1.ReasonInvalidAnswer},
		"a failure":         {answer(500, "application/json", `{}`), v1alpha1.ReasonServerError},
		"too many requests": {answer(429, "application/json", `{}`), v1alpha1.ReasonRateLimited},
		"another issuer":    {answer(200, "application/json", `{"issuer":"https://other.example"}`), v1alpha1.ReasonIssuerMismatch},
		"a cut connection":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, v1alpha1.ReasonUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			w.setFault(test.fault)
			w.ready(server, metav1.ConditionFalse, test.reason)
			require.Equal(t, issuer, server.Status.Issuer, "what is known of the server stays")
			w.mend()
			w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}

// A server that refuses us is asked again and again; none of it stays open.
func TestAProbeThatFailsLeavesNoConnection(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials("cas_wrong"))
	w.ready(w.tokenServer(), metav1.ConditionFalse, v1alpha1.ReasonCredentialsRefused)
	before := w.probes.Load()
	testenv.Eventually(t, func(c *require.Assertions) { c.Greater(w.probes.Load(), before+5) })
	testenv.Eventually(t, func(c *require.Assertions) {
		c.LessOrEqual(established(t, w.server.HTTP.Listener.Addr()), 1, "the one under way")
	})
}

// established is how many connections a listener of this machine has.
func established(t *testing.T, listener net.Addr) (n int) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	require.NoError(t, err)
	port := fmt.Sprintf(":%04X", listener.(*net.TCPAddr).Port) //nolint:forcetypeassert // it is one
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); strings.HasSuffix(fields[1], port) && fields[3] == "01" {
			n++
		}
	}
	return n
}

func TestRefusedCredentialsAreToldAndTheirChangeNoticed(t *testing.T) {
	w := newWorld(t)
	credentials := w.credentials("cas_wrong")
	w.create(credentials)
	server := w.tokenServer()
	refused := w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonCredentialsRefused)
	require.NotContains(t, refused.Message, "cas_wrong")
	w.edit(credentials, func() { credentials.Data["client-secret"] = []byte(w.server.AdminClientSecret) })
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.edit(credentials, func() { delete(credentials.Data, "client-secret") })
	missing := w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonCredentialsMissing)
	require.Contains(t, missing.Message, "has no key client-secret")
}

func TestAnOrganizationTheServerDoesNotKnowIsTold(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer(func(s *v1alpha1.TokenServer) { s.Spec.OrganizationID = tokenservertest.OtherOrgID })
	w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonOrganizationNotFound)
	require.Equal(t, status.FailedStatus, testenv.KStatus(t, server))
	w.edit(server, func() { server.Spec.OrganizationID = "" })
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestThePublicIssuerCountsAtAnInternalAddressToo(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	address, err := url.Parse(w.server.URL)
	require.NoError(t, err)
	server := w.tokenServer(func(s *v1alpha1.TokenServer) { s.Spec.InternalURL = "http://localhost:" + address.Port() })
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	require.Equal(t, w.server.URL+oauth.PathToken, server.Status.Endpoints.Token, "workloads elsewhere get the public address")

	w.edit(server, func() { server.Spec.URL, server.Spec.InternalURL = "https://id.example.com", w.server.URL })
	mismatch := w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonIssuerMismatch)
	require.Contains(t, mismatch.Message, "expected https://id.example.com/accounts/api/v2/oauth2")
}

func TestCertificatesComeFromAConfigMap(t *testing.T) {
	w := newWorld(t)
	front := httptest.NewUnstartedServer(nil)
	front.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes
	front.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		// The real server, as a TLS-terminating proxy shows it.
		recorder := httptest.NewRecorder()
		w.server.HTTP.Config.Handler.ServeHTTP(recorder, r)
		rw.Header().Set("Content-Type", recorder.Header().Get("Content-Type"))
		rw.WriteHeader(recorder.Code)
		body := recorder.Body.String()
		if r.URL.Path == oauth.PathDiscovery {
			body = strings.ReplaceAll(body, w.server.URL, front.URL)
		}
		_, _ = io.WriteString(rw, body)
	})
	front.StartTLS()
	t.Cleanup(front.Close)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer(func(s *v1alpha1.TokenServer) { s.Spec.URL = front.URL })
	w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonTLSFailed)

	w.edit(server, func() {
		server.Spec.CABundle = &v1alpha1.CABundle{ConfigMapRef: v1alpha1.ConfigMapKeyReference{Name: w.name, Key: "ca.crt"}}
	})
	w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonCABundleInvalid)
	bundle := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.SystemNamespace, Name: w.name},
		Data:       map[string]string{"ca.crt": "no PEM"},
	}
	w.create(bundle)
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Contains(w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonCABundleInvalid).Message, "holds no PEM certificate")
	})
	w.edit(bundle, func() {
		bundle.Data["ca.crt"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}))
	})
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestEventsTellOfChangesOnly(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.setFault(answer(500, "application/json", `{}`))
	w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerError)
	probed := w.probes.Load()
	testenv.Eventually(t, func(c *require.Assertions) { c.Greater(w.probes.Load(), probed) })
	w.mend()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	testenv.Eventually(t, func(c *require.Assertions) {
		events := &eventsv1.EventList{}
		c.NoError(plane.Client.List(t.Context(), events))
		count := map[string]int{}
		for _, e := range events.Items {
			if e.Regarding.UID == server.UID {
				count[e.Reason]++
			}
		}
		c.Equal(map[string]int{v1alpha1.ReasonReady: 2, v1alpha1.ReasonServerError: 1}, count, "three changes, whatever the number of probes")
	})
}
