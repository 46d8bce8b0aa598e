// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/assertion"
	"connectedapps.dev/operator/internal/tokenserver/workload"
)

const reviewPath = "/apis/authentication.k8s.io/v1/tokenreviews"

// TestAReviewMustConfirmWhatTheTokenSays, whatever an API server may answer.
func TestAReviewMustConfirmWhatTheTokenSays(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	clock := &clock{}
	c := newCluster(t, alike, clock.Now)
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("mine"), 0o600))
	source := workload.NewTokenReview(workload.Connection{URL: p.URL, CAFile: p.ca(), TokenFile: token})
	status := func(authenticated bool, username string, audiences ...string) string {
		answer, err := json.Marshal(map[string]any{"status": map[string]any{
			"authenticated": authenticated, "audiences": audiences, "user": map[string]any{"username": username}, "error": "the reason",
		}})
		require.NoError(t, err)
		return string(answer)
	}
	created := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var sent struct {
				Spec struct {
					Token     string
					Audiences []string
				}
			}
			if json.NewDecoder(r.Body).Decode(&sent) != nil || sent.Spec.Token == "" || len(sent.Spec.Audiences) != 1 || sent.Spec.Audiences[0] != audience {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, row := range map[string]struct {
		answer      http.HandlerFunc
		says        string
		unavailable bool
	}{
		"all of it":              {created(status(true, gitproxy, audience)), "", false},
		"no":                     {created(status(false, gitproxy, audience)), `does not authenticate the token: "the reason"`, false},
		"yes, for no audience":   {created(status(true, gitproxy)), "does not confirm the audience", false},
		"yes, for itself":        {created(status(true, gitproxy, "https://kubernetes.default.svc")), "does not confirm the audience", false},
		"yes, for others too":    {created(status(true, gitproxy, audience, "https://kubernetes.default.svc")), "does not confirm the audience", false},
		"yes, of somebody else":  {created(status(true, "system:serviceaccount:payments:other", audience)), "does not confirm sub", false},
		"yes, of nobody":         {created(status(true, "", audience)), "does not confirm sub", false},
		"nothing":                {created(`{}`), "does not authenticate the token", false},
		"no JSON":                {created(`<html>`), "the answer is no TokenReview", true},
		"that it may not ask":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "answers with status 403", true},
		"that it is overloaded":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, "answers with status 429", true},
		"a failure":              {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, "answers with status 500", true},
		"a status that is wrong": {text(status(true, gitproxy, audience)), "answers with status 200", true},
		"to ask somebody else": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example"+reviewPath, http.StatusTemporaryRedirect)
		}, "a redirect to another host is not followed", true},
	} {
		p.put(reviewPath, row.answer)
		claims, err := source.Claims(t.Context(), c.token(nil), policyAt(clock))
		if row.says == "" {
			require.NoError(t, err, name)
			require.Equal(t, gitproxy, claims.Subject)
			require.Equal(t, "mine", p.bearer[reviewPath])
			continue
		}
		require.ErrorContains(t, err, row.says, name)
		if row.unavailable {
			require.ErrorIs(t, err, workload.ErrUnavailable, name)
		} else {
			require.NotErrorIs(t, err, workload.ErrUnavailable, name)
		}
	}
	asked := p.asked[reviewPath]
	for name, raw := range map[string]string{
		"expired": c.token(jwt.MapClaims{"exp": clock.Now().Add(-2 * time.Minute).Unix()}), "for somebody else": c.token(jwt.MapClaims{"aud": "vault"}),
		"a claim twice": twice(c), "an extension": c.token(nil, map[string]any{"crit": []string{"b64"}}), "no JWT": "x",
	} {
		_, err := source.Claims(t.Context(), raw, policyAt(clock))
		require.Error(t, err, name)
	}
	require.Equal(t, asked, p.asked[reviewPath], "what cannot be accepted is not asked about")
	var claim assertion.ClaimError
	_, err := source.Claims(t.Context(), c.token(jwt.MapClaims{"aud": "vault"}), policyAt(clock))
	require.ErrorAs(t, err, &claim)
	require.Equal(t, "aud must be "+audience, claim.Error())
}
