// SPDX-License-Identifier: Apache-2.0

package user

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

type world struct {
	t        *testing.T
	clock    *clock
	store    *sqlstore.Store
	live     *directory.Live
	sessions *Sessions
	forms    *Forms
}

func newWorld(t *testing.T) *world {
	clock := newClock()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), clock.Now())
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	cookies := &Cookies{Secure: true, Key: make([]byte, 32)}
	live := testDirectory()
	return &world{t: t, clock: clock, store: store, live: live,
		sessions: &Sessions{Store: store, Directory: live, Ended: ended.New(store, clock.Now), Cookies: cookies, Now: clock.Now},
		forms:    &Forms{Cookies: cookies, Now: clock.Now}}
}

// request carries the cookies an answer has set.
func request(answers ...*httptest.ResponseRecorder) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, answer := range answers {
		for _, cookie := range answer.Result().Cookies() {
			if cookie.MaxAge >= 0 {
				r.AddCookie(cookie)
			}
		}
	}
	return r
}

func (w *world) signIn(r *http.Request, id string) (*Session, *httptest.ResponseRecorder) {
	w.t.Helper()
	u, ok := w.live.Load().User(id)
	require.True(w.t, ok)
	answer := httptest.NewRecorder()
	session, err := w.sessions.Start(answer, r, u)
	require.NoError(w.t, err)
	return session, answer
}

func TestASessionLastsWhileItIsUsedUpToTwelveHours(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	started, answer := w.signIn(request(), "ada")
	for range 7 {
		w.clock.advance(100 * time.Minute)
		got, err := w.sessions.Current(request(answer))
		require.NoError(t, err)
		require.Equal(t, started.ID, got.ID)
		require.Equal(t, "ada", got.User.ID)
		require.Equal(t, started.AuthTime, got.AuthTime)
	}
	w.clock.advance(20 * time.Minute)
	_, err := w.sessions.Current(request(answer))
	require.ErrorIs(t, err, ErrNoSession)
}

func TestASessionEndsWhenItIsNotUsedForTwoHours(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, answer := w.signIn(request(), "ada")
	w.clock.advance(2*time.Hour - time.Second)
	_, err := w.sessions.Current(request(answer))
	require.NoError(t, err)
	w.clock.advance(2 * time.Hour)
	_, err = w.sessions.Current(request(answer))
	require.ErrorIs(t, err, ErrNoSession)
}

func TestTheSessionCookieIsOfThisHostAloneAndOutOfReachOfScripts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, answer := w.signIn(request(), "ada")
	cookie := answer.Result().Cookies()[0]
	assert.Equal(t, "__Host-connectedapps-session", cookie.Name)
	assert.True(t, cookie.Secure && cookie.HttpOnly)
	assert.Equal(t, "/", cookie.Path)
	assert.Empty(t, cookie.Domain)
	assert.Equal(t, http.SameSiteLaxMode, cookie.SameSite)
	assert.Zero(t, cookie.MaxAge, "it ends with the browser")
	assert.Len(t, cookie.Value, 43)

	w.sessions.Cookies.Secure = false
	_, answer = w.signIn(request(), "ada")
	cookie = answer.Result().Cookies()[0]
	assert.Equal(t, "connectedapps-session", cookie.Name, "on http loopback a prefix would be refused")
	assert.False(t, cookie.Secure)

	w.sessions.Cookies.Port = "8080"
	_, answer = w.signIn(request(), "ada")
	assert.Equal(t, "connectedapps-session-8080", answer.Result().Cookies()[0].Name, "servers on one host are told apart by their ports")
}

func TestSigningInMakesANewSessionAndEndsTheOld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, before := w.signIn(request(), "ada")
	second, after := w.signIn(request(before), "bob")
	require.NotEqual(t, first.ID, second.ID)
	_, err := w.sessions.Current(request(before))
	require.ErrorIs(t, err, ErrNoSession)
	got, err := w.sessions.Current(request(after))
	require.NoError(t, err)
	require.Equal(t, "bob", got.User.ID)
}

func TestSigningOutEndsTheSessionAtTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, answer := w.signIn(request(), "ada")
	out := httptest.NewRecorder()
	require.NoError(t, w.sessions.End(out, request(answer)))
	require.Negative(t, out.Result().Cookies()[0].MaxAge)
	_, err := w.sessions.Current(request(answer))
	require.ErrorIs(t, err, ErrNoSession, "a kept cookie is worth nothing")
	require.NoError(t, w.sessions.End(httptest.NewRecorder(), request()))
}

func TestTheSessionOfARemovedOrDisabledUserEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, answer := w.signIn(request(), "ada")
	w.live.Store(directory.New(nil, []directory.User{{ID: "ada", Username: "ada"}}))
	_, err := w.sessions.Current(request(answer))
	require.ErrorIs(t, err, ErrNoSession)
	w.live.Store(directory.New(nil, nil))
	_, err = w.sessions.Current(request(answer))
	require.ErrorIs(t, err, ErrNoSession)
}

func TestTheDatabaseDoesNotHoldWhatTheCookieHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, answer := w.signIn(request(), "ada")
	value := answer.Result().Cookies()[0].Value
	_, err := w.store.SessionByHash(t.Context(), []byte(value))
	require.ErrorIs(t, err, storage.ErrNotFound)
	stolen := httptest.NewRequest(http.MethodGet, "/", nil)
	stolen.AddCookie(&http.Cookie{Name: "__Host-connectedapps-session", Value: "short"})
	_, err = w.sessions.Current(stolen)
	require.ErrorIs(t, err, ErrNoSession)
}

func TestAFormTokenIsGoodForItsBrowserFormAndHour(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shown, other := httptest.NewRecorder(), httptest.NewRecorder()
	token := w.forms.Token(shown, request(), nil, "sign-in", "/a")
	w.forms.Token(other, request(), nil, "sign-in", "/a")
	session, _ := w.signIn(request(shown), "ada")

	ofSession := w.forms.Token(httptest.NewRecorder(), request(), session, "sign-in", "/a")

	require.NoError(t, w.forms.Check(request(shown), nil, "sign-in", "/a", token))
	for name, test := range map[string]struct{ got, want error }{
		"another browser":          {w.forms.Check(request(other), nil, "sign-in", "/a", token), ErrFormStale},
		"a browser without cookie": {w.forms.Check(request(), nil, "sign-in", "/a", token), ErrFormNoCookie},
		"a session ended since":    {w.forms.Check(request(), nil, "sign-in", "/a", ofSession), ErrFormStale},
		"another form":             {w.forms.Check(request(shown), nil, "consent", "/a", token), ErrFormStale},
		"another subject":          {w.forms.Check(request(shown), nil, "sign-in", "/b", token), ErrFormStale},
		"a session since":          {w.forms.Check(request(shown), session, "sign-in", "/a", token), ErrFormStale},
		"a changed token":          {w.forms.Check(request(shown), nil, "sign-in", "/a", "B"+token[1:]), ErrFormStale},
		"a line end inside":        {w.forms.Check(request(shown), nil, "sign-in", "/a", token[:5]+"\r\n"+token[5:]), ErrFormStale},
		"a line end at its end":    {w.forms.Check(request(shown), nil, "sign-in", "/a", token+"\n"), ErrFormStale},
		"no token":                 {w.forms.Check(request(shown), nil, "sign-in", "/a", ""), ErrFormStale},
		"a token that is not text": {w.forms.Check(request(shown), nil, "sign-in", "/a", "\x00"), ErrFormStale},
	} {
		require.ErrorIs(t, test.got, test.want, name)
	}
	assert.NotEqual(t, token, w.forms.Token(httptest.NewRecorder(), request(shown), nil, "sign-in", "/a"), "each form has its own")
	w.clock.advance(time.Hour)
	require.ErrorIs(t, w.forms.Check(request(shown), nil, "sign-in", "/a", token), ErrFormExpired)
}

func TestAnInteractionIsGoodForItsSessionAndRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	session, _ := w.signIn(request(), "ada")
	other, _ := w.signIn(request(), "ada")
	proof := w.forms.Interaction(session, "/authorize?x")
	assert.True(t, w.forms.Interacted(session, "/authorize?x", proof))
	assert.False(t, w.forms.Interacted(other, "/authorize?x", proof))
	assert.False(t, w.forms.Interacted(session, "/authorize?y", proof))
	form := w.forms.Token(httptest.NewRecorder(), request(), session, session.ID, "/authorize?x")
	assert.False(t, w.forms.Interacted(session, "/authorize?x", form), "a form's token proves nothing")
	w.clock.advance(10 * time.Minute)
	assert.False(t, w.forms.Interacted(session, "/authorize?x", proof))
}

func TestWhoIsAdmitted(t *testing.T) {
	t.Parallel()
	dir := testDirectory().Load()
	ada, _ := dir.User("ada")
	gone, _ := dir.User("gone")
	require.NoError(t, Admits(clients.Prepare(storage.App{OrgID: "org-1", Audience: oauth.AudienceInternal}), ada))
	require.ErrorIs(t, Admits(clients.Prepare(storage.App{OrgID: "org-2", Audience: oauth.AudienceInternal}), ada), ErrNotAdmitted)
	require.ErrorIs(t, Admits(clients.Prepare(storage.App{OrgID: "org-2"}), ada), ErrNotAdmitted, "no audience is the narrow one")
	require.NoError(t, Admits(clients.Prepare(storage.App{OrgID: "org-2", Audience: oauth.AudienceEveryone}), ada))
	require.ErrorIs(t, Admits(clients.Prepare(storage.App{OrgID: "org-1", Audience: oauth.AudienceEveryone}), gone), ErrDisabled)
}

func TestWhenConsentIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	consents := &Consents{Store: w.store, Ended: w.sessions.Ended, Now: w.clock.Now}
	ada, _ := w.live.Load().User("ada")
	app := storage.App{ClientID: "0123456789abcdef0123456789abcdef", OrgID: "org-1", Name: "App", CreatedAt: w.clock.Now()}
	_, err := w.store.CreateApp(t.Context(), app)
	require.NoError(t, err)
	const web, device = "https://app.example/", "http://127.0.0.1:1234/"
	covered := func(app storage.App, uri string, scopes ...string) bool {
		t.Helper()
		coverage, err := consents.Covers(t.Context(), ada, clients.Prepare(app), uri, scopes)
		require.NoError(t, err)
		return coverage != Uncovered
	}

	assert.False(t, covered(app, web, "profile"))
	require.NoError(t, consents.Allow(t.Context(), ada, clients.Prepare(app), []string{"profile"}))
	require.NoError(t, consents.Allow(t.Context(), ada, clients.Prepare(app), []string{"email"}))
	assert.True(t, covered(app, web, "email", "profile"), "consent widens by union")
	assert.False(t, covered(app, web, "profile", "full"))
	assert.True(t, covered(app, device, "profile"), "a confidential client on loopback proves itself")

	public := app
	public.TokenEndpointAuthMethod = oauth.AuthMethodNone
	assert.True(t, covered(public, web, "profile"))
	assert.False(t, covered(public, device, "profile"), "any program on the device could have asked")
	assert.False(t, covered(public, "com.example.app:/cb", "profile"))
	public.SkipUserConsent = true
	assert.False(t, covered(public, device, "profile"))
	assert.True(t, covered(public, web, "view:environment"), "an administrator spared the user the question")
	for _, scope := range []string{"full", "read:full", "manage:orgconnapps", "offline_access"} {
		assert.False(t, covered(public, web, "profile", scope), "nobody but the user allows %s", scope)
	}
	public.OrgID = "org-2"
	assert.False(t, covered(public, web, "view:environment"), "an administrator speaks for the own organization alone")
	changed := app
	changed.SecurityVersion++
	assert.False(t, covered(changed, web, "profile"), "consent was to another app")

	require.NoError(t, consents.Revoke(t.Context(), ada, app.ClientID))
	require.NoError(t, consents.Revoke(t.Context(), ada, app.ClientID))
	assert.False(t, covered(app, web, "profile"))
	assert.Positive(t, w.sessions.Ended.Epochs(ended.Holder{ClientID: app.ClientID, UserID: ada.ID}).Consent, "what the app holds has ended")
}

func FuzzFormToken(f *testing.F) {
	forms := &Forms{Cookies: &Cookies{Key: []byte(text.Random(tokenBytes))}, Now: newClock().Now}
	session := &Session{ID: "one"}
	good := forms.Token(nil, nil, session, "consent", "/a")
	f.Add(good)
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		require.Equal(t, token == good, forms.Check(nil, session, "consent", "/a", token) == nil)
	})
}
