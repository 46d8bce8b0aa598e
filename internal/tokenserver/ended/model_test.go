// SPDX-License-Identifier: Apache-2.0

package ended_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/feed"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/storage/storagetest"
)

// disk is a database that can be stopped and replaced by an earlier copy, and
// whose answers may arrive late.
type disk struct {
	storage.Storage
	path string
	// late gives the answers of before anything had ended.
	late bool
}

func (d *disk) Epoch(ctx context.Context, kind storage.EpochKind, key string) (storage.Epoch, error) {
	if d.late {
		return storage.Epoch{Kind: kind, Key: key}, nil
	}
	return d.Storage.Epoch(ctx, kind, key)
}

func (d *disk) EndedToken(ctx context.Context, kind storage.EndedKind, key string) (storage.EndedToken, error) {
	if d.late {
		return storage.EndedToken{}, storage.ErrNotFound
	}
	return d.Storage.EndedToken(ctx, kind, key)
}

func (d *disk) Epochs(ctx context.Context) ([]storage.Epoch, error) {
	if d.late {
		return nil, nil
	}
	return d.Storage.Epochs(ctx)
}

// replica is a Ledger that follows the feed.
type replica struct {
	*ended.Ledger
	follower *feed.Follower
	// known are the model's epochs as the replica has to know them, and apps its
	// view; behind tells that there was a change since it followed.
	known  map[string]int
	apps   map[string]bool
	behind bool
}

// item is something that was issued, at the model's epochs.
type item struct {
	ended.Issued
	number int
	at     map[string]int
	until  time.Time
	// dead are the replicas that rightly said so.
	dead [2]bool
}

// database is what the model says is in the database.
type database struct {
	epochs     map[string]int
	ended      map[string]bool
	configured map[string]string
	apps       map[string]bool
	items      []*item
}

func (d *database) copy() *database {
	return &database{maps.Clone(d.epochs), maps.Clone(d.ended), maps.Clone(d.configured), maps.Clone(d.apps), append([]*item(nil), d.items...)}
}

// world is two replicas on one database, and the model of both.
type world struct {
	t        *rapid.T
	ctx      context.Context
	disk     *disk
	now      time.Time
	replicas [2]*replica
	db       *database
	// config is what the configuration says; the first replica reads it.
	config map[string]string
	raised int
	issued int
	saved  []byte
	backup *database
}

var (
	modelApps  = []string{"app-0", "app-1"}
	modelUsers = []string{"", "local", "asserted-0", "asserted-1"}
)

const modelOrg = "org"

func newWorld(t *rapid.T, ctx context.Context, template []byte, folder string) *world {
	w := &world{t: t, ctx: ctx, now: storagetest.Epoch, disk: &disk{path: filepath.Join(folder, "db")}}
	w.db = &database{epochs: map[string]int{}, ended: map[string]bool{}, configured: map[string]string{}, apps: map[string]bool{}}
	w.config = map[string]string{"user local": "p1", "organization org": "present", "provider org idp": "present"}
	for _, id := range modelApps {
		w.db.apps[id] = true
	}
	w.put(template)
	w.restart()
	return w
}

// put makes a file the database.
func (w *world) put(content []byte) {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(w.disk.path + suffix)
	}
	require.NoError(w.t, os.WriteFile(w.disk.path, content, 0o600))
	w.open()
}

func (w *world) open() {
	store, err := sqlite.Open(w.ctx, w.disk.path, w.now)
	require.NoError(w.t, err)
	w.disk.Storage = store
}

// restart begins both replicas anew, as a start of the server does.
func (w *world) restart() {
	for n := range w.replicas {
		r := &replica{Ledger: ended.New(w.disk, w.clock), known: map[string]int{}}
		r.follower = &feed.Follower{Store: w.disk, Now: w.clock, Reload: r.Load, Handlers: map[storage.ChangeKind]feed.Handler{
			storage.ChangeEpoch: r.FollowEpoch, storage.ChangeEnded: r.FollowEnded,
		}}
		w.replicas[n] = r
		require.NoError(w.t, r.follower.Poll(w.ctx))
		require.NoError(w.t, r.Load(w.ctx))
		r.known, r.apps, r.behind = maps.Clone(w.db.epochs), maps.Clone(w.db.apps), false
	}
	w.observe()
}

func (w *world) clock() time.Time { return w.now }

// pick draws a replica.
func (w *world) pick() *replica { return rapid.SampledFrom(w.replicas[:]).Draw(w.t, "replica") }

// raise is an end by r in the model.
func (w *world) raise(r *replica, keys ...string) {
	for _, key := range keys {
		w.raised++
		w.db.epochs[key] = w.raised
		r.known[key] = w.raised
	}
	w.changed()
}

func (w *world) changed() {
	for _, r := range w.replicas {
		r.behind = true
	}
}

func depends(h ended.Holder) []string {
	keys := []string{"app " + h.ClientID, "organization " + h.OrganizationID}
	if h.UserID != "" {
		keys = append(keys, "user "+h.UserID, "consent "+storage.ConsentKey(h.UserID, h.ClientID))
	}
	return keys
}

func (w *world) alive(i *item) bool {
	for key, at := range i.at {
		if w.db.epochs[key] != at {
			return false
		}
	}
	return !w.db.ended["jti "+i.ID] && !w.db.ended["family "+i.GrantID]
}

func (w *world) issue() {
	r, h := w.pick(), ended.Holder{OrganizationID: modelOrg}
	h.ClientID = rapid.SampledFrom(modelApps).Draw(w.t, "app")
	h.UserID = rapid.SampledFrom(modelUsers).Draw(w.t, "user")
	w.issued++
	i := &item{number: w.issued, at: map[string]int{}, until: w.now.Add(24 * time.Hour)}
	i.Issued = ended.Issued{Holder: h, Epochs: r.Epochs(h), ID: fmt.Sprint("t", w.issued), GrantID: fmt.Sprint("g", w.issued/2)}
	if w.db.ended["family "+i.GrantID] {
		i.GrantID = fmt.Sprint("g", w.issued, "-new") // an authorization that has ended issues nothing
	}
	if rapid.IntRange(0, 3).Draw(w.t, "refresh token") == 0 {
		i.ID, i.GrantID, i.until = "", "", w.now.Add(90*24*time.Hour)
	}
	for _, key := range depends(h) {
		i.at[key] = r.known[key]
	}
	if w.db.apps[h.ClientID] && r.apps[h.ClientID] {
		w.db.items = append(w.db.items, i)
	}
}

// end ends something of a random item by a random replica, which knows it at once.
func (w *world) end() {
	if len(w.db.items) == 0 {
		return
	}
	i, r := rapid.SampledFrom(w.db.items).Draw(w.t, "item"), w.pick()
	var err error
	switch kind := rapid.SampledFrom([]string{"token", "family", "consent", "user"}).Draw(w.t, "what"); {
	case kind == "token" && i.ID != "":
		w.db.ended["jti "+i.ID] = true
		err = r.EndToken(w.ctx, i.ID, i.until)
		w.changed()
	case kind == "family" && i.GrantID != "":
		w.db.ended["family "+i.GrantID] = true
		err = r.EndFamily(w.ctx, i.GrantID)
		w.changed()
	case kind == "consent" && i.Holder.UserID != "":
		w.raise(r, "consent "+storage.ConsentKey(i.Holder.UserID, i.Holder.ClientID))
		err = r.EndConsent(w.ctx, i.Holder.UserID, i.Holder.ClientID)
	case kind == "user" && i.Holder.UserID != "":
		w.raise(r, "user "+i.Holder.UserID)
		err = r.EndUser(w.ctx, i.Holder.UserID)
	default:
		return
	}
	require.NoError(w.t, err)
	require.ErrorIs(w.t, r.Check(i.Issued), ended.ErrEnded, "who ends it knows at once")
}

// toggleApp deletes an app, or restores it.
func (w *world) toggleApp() {
	id, r := rapid.SampledFrom(modelApps).Draw(w.t, "app"), w.pick()
	if w.db.apps[id] {
		require.NoError(w.t, r.DeleteApp(w.ctx, id))
		// Whatever is stored of the app goes with it.
		kept := w.db.items[:0:0]
		for _, i := range w.db.items {
			if i.Holder.ClientID != id || i.ID != "" {
				kept = append(kept, i)
			}
		}
		w.db.items = kept
	} else {
		app := storagetest.App(len(w.db.items))
		app.ClientID, app.ExternalID, app.Secrets, app.CreatedAt = id, "", nil, w.now
		_, err := w.disk.CreateApp(w.ctx, app)
		require.NoError(w.t, err)
	}
	w.db.apps[id] = !w.db.apps[id]
	r.apps[id] = w.db.apps[id]
	w.raise(r, "app "+id)
	require.NoError(w.t, r.FollowApp(w.ctx, id, func(context.Context, string) error { return nil }))
}

// disableApp switches an app off and on.
func (w *world) disableApp() {
	id, r := rapid.SampledFrom(modelApps).Draw(w.t, "app"), w.pick()
	if !w.db.apps[id] {
		return
	}
	for _, enabled := range []bool{false, true} {
		_, err := w.disk.UpdateApp(w.ctx, id, w.now, func(a *storage.App) error { a.Enabled = enabled; return nil })
		require.NoError(w.t, err)
	}
	w.raise(r, "app "+id)
	require.NoError(w.t, r.FollowApp(w.ctx, id, func(context.Context, string) error { return nil }))
}

func (w *world) reconfigure() {
	w.config["user local"] = rapid.SampledFrom([]string{"p1", "p2", "", "gone"}).Draw(w.t, "user")
	w.config["organization org"] = rapid.SampledFrom([]string{"present", "gone"}).Draw(w.t, "organization")
	w.config["provider org idp"] = rapid.SampledFrom([]string{"present", "gone"}).Draw(w.t, "provider")
	w.observe()
}

var modelKinds = map[string]storage.EpochKind{
	"user local": storage.EpochUser, "organization org": storage.EpochOrganization, "provider org idp": storage.EpochProvider,
}

func (w *world) observe() {
	r := w.replicas[0]
	var present []storage.Configured
	for name, state := range w.config {
		kind := modelKinds[name]
		if state == "gone" {
			state = ""
		} else {
			present = append(present, storage.Configured{Kind: kind, Key: name[len(kind)+1:], State: state})
		}
		was, known := w.db.configured[name]
		if known || w.config[name] != "gone" {
			w.db.configured[name] = state
		}
		switch {
		case !known || was == state:
		case kind == storage.EpochProvider:
			w.raise(r, "user asserted-0", "user asserted-1")
		default:
			w.raise(r, name)
		}
	}
	require.NoError(w.t, r.Observe(w.ctx, present))
}

func (w *world) poll() {
	r := w.pick()
	require.NoError(w.t, r.follower.Poll(w.ctx))
	r.known, r.apps, r.behind = maps.Clone(w.db.epochs), maps.Clone(w.db.apps), false
}

// lateRead brings a replica answers that are older than what it knows.
func (w *world) lateRead() {
	r := w.pick()
	w.disk.late = true
	defer func() { w.disk.late = false }()
	require.NoError(w.t, r.Load(w.ctx))
	for key := range w.db.epochs {
		require.NoError(w.t, r.FollowEpoch(w.ctx, key))
	}
	for key := range w.db.ended {
		require.NoError(w.t, r.FollowEnded(w.ctx, key))
	}
}

func (w *world) pass() {
	w.now = w.now.Add(time.Duration(rapid.SampledFrom([]int{1, 20, 60, 25 * 60, 49 * 60}).Draw(w.t, "minutes")) * time.Minute)
	_, err := w.disk.CollectGarbage(w.ctx, w.now, 1000)
	require.NoError(w.t, err)
	for _, r := range w.replicas {
		r.Sweep(func(clientID string) bool { return r.apps[clientID] })
	}
}

func (w *world) takeBackup() {
	require.NoError(w.t, w.disk.Close())
	saved, err := os.ReadFile(w.disk.path)
	require.NoError(w.t, err)
	w.saved, w.backup = saved, w.db.copy()
	w.open()
	w.restart()
}

func (w *world) restoreBackup() {
	if w.backup == nil {
		return
	}
	require.NoError(w.t, w.disk.Close())
	w.put(w.saved)
	issued := w.db.items
	w.db = w.backup.copy()
	known := map[int]bool{}
	for _, i := range w.db.items {
		i.dead, known[i.number] = [2]bool{}, true
	}
	for _, i := range issued {
		if i.dead = [2]bool{}; !known[i.number] {
			w.db.items = append(w.db.items, i)
		}
	}
	w.restart()
}

// check compares every replica with the model.
func (w *world) check() {
	w.now = w.now.Add(time.Millisecond)
	for _, i := range w.db.items {
		if !w.now.Before(i.until) {
			continue
		}
		for n, r := range w.replicas {
			err := r.Check(i.Issued)
			switch alive := w.alive(i); {
			case i.dead[n]:
				require.Error(w.t, err, "token %d came back to life at replica %d", i.number, n)
			case r.behind:
			case alive:
				require.NoError(w.t, err, "token %d of %+v was never ended", i.number, i.Issued)
			default:
				require.Error(w.t, err, "token %d of %+v has ended", i.number, i.Issued)
				i.dead[n] = true
			}
		}
	}
}

// template is a database with the apps and users of the model.
func template(t *testing.T) []byte {
	path := filepath.Join(t.TempDir(), "db")
	store, err := sqlite.Open(t.Context(), path, storagetest.Epoch)
	require.NoError(t, err)
	for n, id := range modelApps {
		app := storagetest.App(n)
		app.ClientID, app.ExternalID, app.Secrets = id, "", nil
		_, err := store.CreateApp(t.Context(), app)
		require.NoError(t, err)
	}
	for _, id := range modelUsers[2:] {
		_, err := store.PutUser(t.Context(), storage.User{ID: id, OrgID: modelOrg, IDProviderID: "idp", Username: id}, storagetest.Epoch)
		require.NoError(t, err)
	}
	require.NoError(t, store.Close())
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return content
}

// TestTheLedgerKnowsWhatHasEnded compares two replicas on one real database with a
// model, through ends of every kind, polls in any order, late answers, restarts,
// garbage collection and restored backups: what has ended and is known to the
// database is never alive again, nothing else is dead, and nothing that was issued
// at an epoch from after a restored backup ever lives.
func TestTheLedgerKnowsWhatHasEnded(t *testing.T) {
	content, folder := template(t), t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt, t.Context(), content, folder)
		defer func() { _ = w.disk.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"issue":          func(*rapid.T) { w.issue() },
			"issue again":    func(*rapid.T) { w.issue() },
			"end":            func(*rapid.T) { w.end() },
			"end again":      func(*rapid.T) { w.end() },
			"delete app":     func(*rapid.T) { w.toggleApp() },
			"disable app":    func(*rapid.T) { w.disableApp() },
			"reconfigure":    func(*rapid.T) { w.reconfigure() },
			"poll":           func(*rapid.T) { w.poll() },
			"poll again":     func(*rapid.T) { w.poll() },
			"late read":      func(*rapid.T) { w.lateRead() },
			"time passes":    func(*rapid.T) { w.pass() },
			"restart":        func(*rapid.T) { w.restart() },
			"backup":         func(*rapid.T) { w.takeBackup() },
			"restore backup": func(*rapid.T) { w.restoreBackup() },
			"":               func(*rapid.T) { w.check() },
		})
	})
}
