// SPDX-License-Identifier: Apache-2.0

package replicas

import (
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

// atOnce asks all replicas at the same time.
func (i *installation) atOnce(ask func(site) answer) []answer {
	i.t.Helper()
	answers := make([]answer, len(i.replicas))
	var asking sync.WaitGroup
	begin := make(chan struct{})
	for n, r := range i.replicas {
		at := r.at()
		asking.Go(func() {
			<-begin
			answers[n] = ask(at)
		})
	}
	close(begin)
	asking.Wait()
	return answers
}

// statuses counts the answers by status.
func statuses(answers []answer) map[int]int {
	counts := map[int]int{}
	for _, a := range answers {
		counts[a.status]++
	}
	return counts
}

// TestASignInGoesOverEveryReplica lets each step of a person's way meet another
// replica, directly and with a pooler before the database.
func TestASignInGoesOverEveryReplica(t *testing.T) {
	for name, options := range map[string][]option{"directly": nil, "through pgbouncer": {throughBouncer()}} {
		t.Run(name, func(t *testing.T) {
			i := start(t, options...)
			web := i.registerWeb()
			person := i.newBrowser()

			asked := person.get(i.a(), authorization(web))
			require.Equal(t, http.StatusSeeOther, asked.status, asked.body)
			next := person.signIn(i.b(), i.c(), asked.header.Get("Location"))
			code := person.allow(i.a(), i.b(), next)

			tokens := i.c().tokens(i.c().redeem(web, code))
			for _, r := range i.replicas {
				require.True(t, r.at().active(web, tokens.AccessToken))
				require.Equal(t, http.StatusOK, person.get(r.at(), "/accounts/authorized-apps").status, "the session is everybody's")
			}
			second := person.allow(i.b(), i.b(), authorization(web))
			again := i.a().redeem(web, code)
			require.Equal(t, http.StatusBadRequest, again.status, again.body)
			require.Equal(t, oauth.CodeInvalidGrant, again.code())
			require.Equal(t, oauth.CodeInvalidGrant, i.b().refresh(web, tokens.RefreshToken).code(), "what came of the code is revoked")
			i.everywhere(func(r *require.Assertions, at site) { r.False(at.active(web, tokens.AccessToken)) })
			i.b().tokens(i.b().redeem(web, second))

			left := person.do(i.c(), http.MethodPost, "/accounts/sign-out", fill(person.get(i.b(), "/accounts/sign-out")))
			require.Equal(t, http.StatusOK, left.status, left.body)
			for _, r := range i.replicas {
				require.Equal(t, http.StatusSeeOther, person.get(r.at(), "/accounts/authorized-apps").status, "signed out everywhere")
			}
		})
	}
}

func TestACodeIsRedeemedOnceByAllReplicasTogether(t *testing.T) {
	i := start(t)
	web := i.registerWeb()
	person := i.signedIn()
	for range 10 {
		code := person.allow(i.a(), i.b(), authorization(web))
		answers := i.atOnce(func(at site) answer { return at.redeem(web, code) })
		require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusBadRequest: 2}, statuses(answers))
		for n, got := range answers {
			if got.status != http.StatusOK {
				require.Equal(t, oauth.CodeInvalidGrant, got.code())
				continue
			}
			refused := i.replicas[(n+1)%3].at().refresh(web, i.a().tokens(got).RefreshToken)
			require.Equal(t, oauth.CodeInvalidGrant, refused.code(), "the others were replays")
		}
	}
}

func TestARefreshTokenIsUsedAtAnyReplica(t *testing.T) {
	i := start(t)
	web := i.registerWeb()
	first := i.signedIn().tokens(web)
	second := i.a().tokens(i.a().refresh(web, first.RefreshToken))
	third := i.b().tokens(i.b().refresh(web, second.RefreshToken))

	// All at once: as when the answer is lost and the client repeats itself elsewhere.
	answers := i.atOnce(func(at site) answer { return at.refresh(web, third.RefreshToken) })
	require.Equal(t, map[int]int{http.StatusOK: 3}, statuses(answers))
	fourth := i.a().tokens(answers[0])
	for _, got := range answers {
		require.Equal(t, fourth.RefreshToken, i.a().tokens(got).RefreshToken, "one successor")
	}
	fifth := i.b().tokens(i.b().refresh(web, fourth.RefreshToken))

	reused := i.c().refresh(web, second.RefreshToken)
	require.Equal(t, oauth.CodeInvalidGrant, reused.code(), reused.body)
	for _, r := range i.replicas {
		require.Equal(t, oauth.CodeInvalidGrant, r.at().refresh(web, fifth.RefreshToken).code(), "the family is dead at %s", r.name)
	}
	i.everywhere(func(r *require.Assertions, at site) {
		for _, of := range []oauth.TokenResponse{first, second, third, fourth, fifth} {
			r.False(at.active(web, of.AccessToken))
		}
	})
}
