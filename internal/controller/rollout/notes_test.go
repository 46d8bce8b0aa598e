// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var start = time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)

// workload is one whose Pods start when its template changes, and what the objects
// that restart it hold.
type workload struct {
	metadata, template map[string]string
	holds              map[string]string
	// read is what its Pods found when they started.
	read     map[string]string
	rollouts []time.Time
}

func newWorkload(objects ...string) *workload {
	w := &workload{holds: map[string]string{}, read: map[string]string{}}
	for _, name := range objects {
		w.holds[name], w.read[name] = "1", "1"
	}
	return w
}

// look is one pass of an object's controller: what it goes by is what is noted.
func (w *workload) look(object string, now time.Time) (restarted bool) {
	next, restarted := readNotes(w.metadata, w.template).after(Content{Name: object, Digest: w.holds[object]}, now)
	w.metadata, w.template = next.annotations()
	if restarted {
		w.rollouts = append(w.rollouts, now)
		for name, content := range w.holds {
			w.read[name] = content
		}
	}
	return restarted
}

func TestTheFirstContentIsOnlyNoted(t *testing.T) {
	w := newWorkload("app-a")
	for i := range 100 {
		require.False(t, w.look("app-a", start.Add(time.Duration(i)*time.Hour)))
	}
	require.Equal(t, map[string]string{"restart.connectedapps.dev/app-a": "1"}, w.metadata)
	require.Empty(t, w.template)
}

func TestAChangeIsOneRollOutAfterAMoment(t *testing.T) {
	w := newWorkload("app-a")
	w.look("app-a", start)
	w.holds["app-a"] = "2"
	require.False(t, w.look("app-a", start), "others may come with it")
	require.Equal(t, map[string]string{"restart.connectedapps.dev/app-a": "1 2", "restart.connectedapps.dev/at": "2026-11-23T20:00:30Z"}, w.metadata)
	require.Empty(t, w.template)
	require.False(t, w.look("app-a", start.Add(29*time.Second)))
	require.True(t, w.look("app-a", start.Add(30*time.Second)))
	require.Equal(t, map[string]string{"restart.connectedapps.dev/app-a": "2"}, w.template)
	require.False(t, w.look("app-a", start.Add(time.Minute)))
	require.False(t, w.look("app-a", start.Add(time.Hour)))
}

func TestWhatChangesTogetherIsOneRollOut(t *testing.T) {
	w := newWorkload("app-a", "token-a", "token-b")
	for _, name := range []string{"app-a", "token-a", "token-b"} {
		w.look(name, start)
	}
	for i, name := range []string{"app-a", "token-a", "token-b"} {
		w.holds[name] = "2"
		require.False(t, w.look(name, start.Add(time.Duration(i)*9*time.Second)))
	}
	due := start.Add(settle)
	require.True(t, w.look("token-b", due), "whoever comes first")
	for _, name := range []string{"app-a", "token-a", "token-b"} {
		require.False(t, w.look(name, due.Add(time.Second)))
		require.False(t, w.look(name, due.Add(time.Hour)))
	}
	require.Equal(t, w.holds, w.read)
}

func TestAChangeInTheWindowWaitsForItsEnd(t *testing.T) {
	w := newWorkload("app-a", "token-a")
	w.look("app-a", start)
	w.look("token-a", start)
	w.holds["app-a"] = "2"
	w.look("app-a", start)
	first := start.Add(settle)
	require.True(t, w.look("app-a", first))
	for second := range int(window / time.Second) {
		w.holds["token-a"] = fmt.Sprint(second)
		require.False(t, w.look("token-a", first.Add(time.Duration(second)*time.Second)))
	}
	require.True(t, w.look("token-a", first.Add(window)))
	require.Equal(t, w.holds, w.read)
}

func TestAContentThatComesBackRestartsNothing(t *testing.T) {
	w := newWorkload("app-a")
	w.look("app-a", start)
	w.holds["app-a"] = "2"
	w.look("app-a", start) // as a cache that is behind shows it
	w.holds["app-a"] = "1"
	require.False(t, w.look("app-a", start.Add(settle)))
	require.False(t, w.look("app-a", start.Add(time.Hour)))
	require.Empty(t, w.template)
}

func TestAClockThatIsSetBackDelaysByAWindowAtMost(t *testing.T) {
	w := newWorkload("app-a")
	w.look("app-a", start)
	w.holds["app-a"] = "2"
	w.look("app-a", start)
	back := start.Add(-time.Hour)
	require.False(t, w.look("app-a", back))
	require.True(t, w.look("app-a", back.Add(window)))

	w.holds["app-a"] = "3"
	back = back.Add(-time.Hour) // once more, after the roll-out
	require.False(t, w.look("app-a", back))
	require.True(t, w.look("app-a", back.Add(window)))
}

func TestAContentThatIsNotKnownRestartsNothingButWhatIsNoted(t *testing.T) {
	w := newWorkload("app-a")
	w.look("app-a", start)
	w.holds["app-a"] = "" // its token server is away
	require.False(t, w.look("app-a", start.Add(time.Hour)))
	w.holds["app-a"] = "2"
	w.look("app-a", start.Add(time.Hour))
	w.holds["app-a"] = ""
	require.True(t, w.look("app-a", start.Add(time.Hour+settle)))
}

// A workload that was made anew has no notes, and Pods of the content before.
func TestAReplacedContentRestartsAWorkloadWithoutNotes(t *testing.T) {
	next, restarts := readNotes(nil, nil).after(Content{Name: "app-a", Digest: "2", Replaced: true}, start)
	require.False(t, restarts)
	metadata, template := next.annotations()
	next, restarts = readNotes(metadata, template).after(Content{Name: "app-a", Digest: "2"}, start.Add(settle))
	require.True(t, restarts)
	_, template = next.annotations()
	require.Equal(t, map[string]string{"restart.connectedapps.dev/app-a": "2"}, template)
}

func TestATemplateTellsWhatIsNoLongerNoted(t *testing.T) {
	template := map[string]string{"restart.connectedapps.dev/app-a": "2", "example.com/x": "y"}
	for digest, behind := range map[string]bool{"2": false, "3": true} {
		next, _ := readNotes(nil, template).after(Content{Name: "app-a", Digest: digest}, start)
		require.Equal(t, behind, next.pending(), digest)
	}
}

// An object that does not name the workload any more left a change there.
func TestWhatNobodyComesBackToRestartsNothingByItself(t *testing.T) {
	w := newWorkload("app-a", "app-b")
	w.look("app-a", start)
	w.holds["app-a"] = "2"
	w.look("app-a", start)
	require.False(t, w.look("app-b", start.Add(24*time.Hour)), "to be named restarts nothing")
	require.False(t, w.look("app-b", start.Add(25*time.Hour)))
}

func TestNotesThatSomebodyMadeUpAreNotThere(t *testing.T) {
	w := newWorkload("app-a")
	w.metadata = map[string]string{
		"restart.connectedapps.dev/app-a": "", "restart.connectedapps.dev/at": "tomorrow", "restart.connectedapps.dev/app-b": "1 2 3", "restart.connectedapps.dev/": "x",
	}
	require.False(t, w.look("app-a", start))
	require.Equal(t, "1", w.metadata["restart.connectedapps.dev/app-a"])
}

// Whatever happens in whatever order: no more than one roll-out in a window, none
// without a change, and in the end Pods have read what is there.
func TestAnyHistory(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 1))
		objects := []string{"app-a", "token-a", "token-b"}
		w := newWorkload(objects...)
		now, changes := start, 0
		for _, name := range objects {
			w.look(name, now)
		}
		for range 200 {
			now = now.Add(time.Duration(random.IntN(40)) * time.Second)
			name := objects[random.IntN(len(objects))]
			if random.IntN(8) == 0 {
				changes++
				w.holds[name] = fmt.Sprint("c", changes)
			}
			w.look(name, now)
		}
		for range 2 { // each looks again when its time has come
			for _, name := range objects {
				w.look(name, now)
			}
			now = now.Add(window)
		}
		for _, name := range objects {
			w.look(name, now)
		}
		require.Equal(t, w.holds, w.read, "seed %d", seed)
		require.LessOrEqual(t, len(w.rollouts), changes, "seed %d", seed)
		for i := 1; i < len(w.rollouts); i++ {
			require.GreaterOrEqual(t, w.rollouts[i].Sub(w.rollouts[i-1]), window, "seed %d", seed)
		}
	}
}

func TestADigestIsOfKeysAndValues(t *testing.T) {
	digest := Digest(map[string][]byte{"a": []byte("b"), "c": nil})
	require.Equal(t, digest, Digest(map[string][]byte{"c": {}, "a": []byte("b")}))
	require.Len(t, digest, 32)
	for _, other := range []map[string][]byte{
		{"a": []byte("b")}, {"a": []byte("bc"), "": nil}, {"ab": nil, "c": nil}, {"a": nil, "c": []byte("b")}, {},
	} {
		require.NotEqual(t, digest, Digest(other), "%v", other)
	}
}
