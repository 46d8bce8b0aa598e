// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
)

func TestOverlap(t *testing.T) {
	for name, row := range map[string]struct {
		rotation *v1alpha1.Rotation
		want     time.Duration
	}{
		"nothing said":                        {want: 24 * time.Hour},
		"an interval longer than the default": {&v1alpha1.Rotation{Interval: &metav1.Duration{Duration: 720 * time.Hour}}, 24 * time.Hour},
		"a shorter one":                       {&v1alpha1.Rotation{Interval: &metav1.Duration{Duration: time.Hour}}, time.Hour},
		"an overlap":                          {&v1alpha1.Rotation{Overlap: &metav1.Duration{Duration: 48 * time.Hour}}, 48 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, row.want, plan.Overlap(object(func(a *v1alpha1.ConnectedApp) {
				a.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsSecret, Rotation: row.rotation}
			})))
		})
	}
}

// Apps that were made together rotate at times of their own, none late, none more
// than a tenth of the interval early, and each at the same time whenever it is asked.
func TestAppsMadeTogetherPart(t *testing.T) {
	const interval = 30 * 24 * time.Hour
	hours := map[time.Duration]int{}
	for n := range 1000 {
		in := input(rotating(0), func(in *plan.Input) { in.App.UID = types.UID(fmt.Sprintf("9b1deb4d-3b7d-4bad-9bdd-%012d", n)) })
		next := plan.NextLook(in.App, now)
		require.Equal(t, next, plan.NextLook(in.App, now))
		require.GreaterOrEqual(t, next, interval*9/10)
		require.LessOrEqual(t, next, interval)
		in.Now = now.Add(next - time.Second)
		require.False(t, plan.RotationDue(in))
		in.Now = now.Add(next)
		require.True(t, plan.RotationDue(in))
		hours[next.Truncate(time.Hour)]++
	}
	for hour, n := range hours {
		require.Less(t, n, 50, "%s: a thousand over 72 hours", hour)
	}
}

func TestNextLook(t *testing.T) {
	for name, row := range map[string]struct {
		in   []func(*plan.Input)
		want time.Duration
	}{
		"nothing is due":               {},
		"a schedule that is over":      {in: []func(*plan.Input){rotating(31 * 24 * time.Hour)}},
		"the first look at a secret":   {in: []func(*plan.Input){replaced(5 * time.Minute)}, want: 6 * time.Minute},
		"nothing after the first look": {in: []func(*plan.Input){replaced(time.Hour)}},
		"the end of a secret": {in: []func(*plan.Input){replaced(time.Hour), func(in *plan.Input) {
			in.App.Status.Secrets[0].ExpiresAt = new(metav1.NewTime(now.Add(time.Hour)))
		}}, want: time.Hour},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, row.want, plan.NextLook(input(row.in...).App, now)) })
	}
}

func TestRotatingTellsWhatIsAwaited(t *testing.T) {
	ends := func(in *plan.Input) {
		in.App.Status.Secrets[0].ExpiresAt = new(metav1.NewTime(now.Add(23 * time.Hour)))
	}
	const s0 = "client secret s0 is accepted beside the one in the Secret until 2026-01-02T11:00:00Z at the longest; "
	pod := func(name string) plan.Holder { return plan.Holder{Pod: name, Secret: "app-credentials"} }
	for name, row := range map[string]struct {
		in              []func(*plan.Input)
		reason, message string
		isFalse         bool
		unknown         bool
	}{
		"no rotation": {},
		"a moment ago": {
			in:     []func(*plan.Input){replaced(time.Minute), ends},
			reason: v1alpha1.ReasonOverlap, message: s0 + "from 2026-01-01T12:09:00Z on it is retired as soon as nobody needs it any more",
		},
		"used since": {
			in:     []func(*plan.Input){replaced(time.Hour), ends, func(in *plan.Input) { in.Live.Client.Secrets[0].LastUsed = now }},
			reason: v1alpha1.ReasonFormerSecretUsed, message: s0 + "it was used after it was replaced, by somebody who had not read the Secret again",
		},
		"held by five Pods": {
			in:      []func(*plan.Input){replaced(time.Hour, pod("e"), pod("d"), pod("a"), pod("a"), pod("b"), pod("c")), ends},
			reason:  v1alpha1.ReasonFormerSecretHeld,
			message: s0 + "Pods took it when they started, and do not see another before they are restarted: a, b, c and 2 more",
		},
		"the client was not read": {
			in:     []func(*plan.Input){replaced(time.Hour), ends, func(in *plan.Input) { in.Live.Client.SecretsKnown = false }},
			reason: v1alpha1.ReasonOverlap, message: s0 + "it is not known yet whether somebody needs it", unknown: true,
		},
		"two of them": {
			in: []func(*plan.Input){replaced(time.Hour), ends, func(in *plan.Input) {
				in.App.Status.Secrets = slices.Insert(in.App.Status.Secrets, 1, v1alpha1.ClientSecretStatus{ID: "s0b", ReplacedAt: in.App.Status.Secrets[0].ReplacedAt})
				in.Live.Client.Secrets[0].LastUsed = now
			}},
			reason: v1alpha1.ReasonFormerSecretUsed, message: "client secrets s0, s0b are accepted beside the one in the Secret until 2026-01-02T11:00:00Z at the longest; " +
				"of s0: it was used after it was replaced, by somebody who had not read the Secret again",
		},
		"a schedule where there is one secret only": {
			in: []func(*plan.Input){rotating(0), plain}, reason: v1alpha1.ReasonRotationNotPossible, isFalse: true,
			message: "spec.credentials.rotation.interval is not followed: TokenServer default accepts one secret of a client at a time, so that each rotation is an " +
				"outage until everybody has read the Secret again; ask for one when that does no harm, with the annotation connectedapps.dev/rotate-requested-at",
		},
		"a request for an ExistingSecret": {
			in: []func(*plan.Input){existing, asking("b")}, reason: v1alpha1.ReasonRotationNotPossible, isFalse: true,
			message: "annotation connectedapps.dev/rotate-requested-at asks for a rotation, but the client secret is made by somebody else: put a new one into secret vault",
		},
		"the server is away": {in: []func(*plan.Input){rotating(0), away}, unknown: true},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(row.in...)
			says, isFalse, known := plan.Rotating(in)
			require.Equal(t, row.isFalse, isFalse)
			require.Equal(t, !row.unknown, known)
			if row.reason == "" {
				require.Nil(t, says)
				return
			}
			require.Equal(t, row.reason, says.Reason)
			require.Equal(t, row.message, says.Message)
		})
	}
}

// rotatingWorld is one app through time: its server, its Secret, a manager that is
// killed and away at will, and those who use the Secret.
type rotatingWorld struct {
	in       plan.Input
	secrets  []plan.ClientSecret
	made     int
	holds    string // the client secret in the Secret
	previous string // the one before
	since    time.Time
	pods     []worldPod
	reader   struct {
		value string
		at    time.Time
	}
	flushed time.Time
	overlap time.Duration
	// cutOff: the manager died between making a client secret and publishing it, so
	// that the one in the Secret has an end.
	cutOff bool
}

// worldPod took the Secret at its start.
type worldPod struct {
	plan.Holder
	value string
}

const (
	kubeletLag = 110 * time.Second // how late a Pod sees another value
	readAgain  = 8 * time.Minute   // how rarely a reader of files looks
	takesOver  = time.Minute       // how long a manager that died is missed
)

func (w *rotatingWorld) accepts(id string) bool {
	return slices.ContainsFunc(w.secrets, func(s plan.ClientSecret) bool { return s.ID == id && isLive(w.in.Now, s) })
}

func isLive(now time.Time, s plan.ClientSecret) bool {
	return s.ExpiresAt.IsZero() || now.Before(s.ExpiresAt)
}

func (w *rotatingWorld) use(id string) {
	for i := range w.secrets {
		if w.secrets[i].ID == id {
			w.secrets[i].LastUsed = w.in.Now
		}
	}
}

// seen is what somebody reads now who may see a change late.
func (w *rotatingWorld) seen(t *rapid.T) string {
	if w.previous != "" && w.in.Now.Sub(w.since) < kubeletLag && rapid.Bool().Draw(t, "late") {
		return w.previous
	}
	return w.holds
}

// pass is one of the manager, that dies after some steps.
func (w *rotatingWorld) pass(t *rapid.T, steps int) {
	in := &w.in
	w.secrets = slices.DeleteFunc(w.secrets, func(s plan.ClientSecret) bool { return !isLive(in.Now, s) })
	in.Secret.Exists, in.Secret.SecretID = true, w.holds
	in.Live = &plan.Live{Client: &plan.LiveClient{
		ID: "c1", Client: plan.Desired(in.App, nil, ""), SecretsKnown: true, Secrets: slices.Clone(w.secrets), CompleteUntil: w.flushed,
	}}
	// The server's revision tells of a secret that was made.
	if !w.cutOff && !plan.RotationDue(*in) && plan.RetirementDue(*in).IsZero() && rapid.Bool().Draw(t, "unread") {
		in.Live.Client.Unread, in.Live.Client.SecretsKnown, in.Live.Client.Secrets = true, false, nil
	}
	in.Holders = nil
	if plan.AsksForHolders(*in) {
		in.Holders = &plan.Holders{}
		for _, p := range w.pods {
			in.Holders.Pods = append(in.Holders.Pods, p.Holder)
		}
	}
	made, deleted := "", map[string]bool{}
	for n, a := range plan.Make(*in).Actions {
		if n >= steps {
			w.cutOff = w.cutOff || made != ""
			return
		}
		switch a.Kind {
		case plan.DeleteSecret:
			deleted[a.ID] = true
			w.secrets = slices.DeleteFunc(w.secrets, func(s plan.ClientSecret) bool { return s.ID == a.ID })
		case plan.MakeSecret:
			w.made++
			made = fmt.Sprint("s", w.made)
			end := in.Now.Add(plan.Overlap(in.App))
			for i := range w.secrets {
				if e := w.secrets[i].ExpiresAt; e.IsZero() || e.After(end) {
					w.secrets[i].ExpiresAt = end
				}
			}
			w.secrets = append(w.secrets, plan.ClientSecret{ID: made, CreatedAt: in.Now})
		case plan.Publish:
			w.previous, w.holds, w.since, w.cutOff = w.holds, made, in.Now, false
		default:
			t.Fatalf("unexpected: %s", a.Kind)
		}
	}
	if steps < 100 {
		return // dead before the status
	}
	in.App.Status.LastHandledRotateAt, in.App.Status.Secrets = plan.Handled(*in, w.holds), plan.Published(*in, w.holds, made != "", func(id string) bool {
		known := in.Live.Client.SecretsKnown
		return deleted[id] || known && !slices.ContainsFunc(in.Live.Client.Secrets, func(s plan.ClientSecret) bool { return s.ID == id }) ||
			!known && !slices.ContainsFunc(plan.NotOver(in.App, in.Now), func(s v1alpha1.ClientSecretStatus) bool { return s.ID == id })
	})
	for _, s := range w.secrets {
		if s.ID != w.holds && (s.ExpiresAt.IsZero() || s.ExpiresAt.After(in.Now.Add(w.overlap))) {
			t.Fatalf("client secret %s is not in the Secret, and lives until %s", s.ID, s.ExpiresAt)
		}
	}
	if len(w.secrets) > 10 {
		t.Fatalf("%d client secrets", len(w.secrets))
	}
}

// happen is what others do for a while.
func (w *rotatingWorld) happen(t *rapid.T) {
	step := rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 5 * time.Minute, 11 * time.Minute, time.Hour, 5 * time.Hour, 24 * time.Hour, 40 * 24 * time.Hour})
	passed := step.Draw(t, "time")
	if w.cutOff {
		passed = min(passed, takesOver)
	}
	w.in.Now = w.in.Now.Add(passed)
	if rapid.Bool().Draw(t, "flush") {
		w.flushed = w.in.Now
	}
	// A Pod ends within the overlap, and others start.
	w.pods = slices.DeleteFunc(w.pods, func(p worldPod) bool { return w.in.Now.Sub(p.Since) >= w.overlap-kubeletLag-takesOver })
	if rapid.IntRange(0, 2).Draw(t, "pod") == 0 {
		pod := worldPod{Holder: plan.Holder{Pod: "p", Secret: "app-credentials", Since: w.in.Now}, value: w.seen(t)}
		w.pods = append(w.pods, pod)
	}
	if w.in.Now.Sub(w.reader.at) >= readAgain || rapid.Bool().Draw(t, "reads") {
		w.reader.value, w.reader.at = w.seen(t), w.in.Now
	}
	if rapid.IntRange(0, 3).Draw(t, "request") == 0 {
		w.in.App.Annotations = map[string]string{v1alpha1.AnnotationRotateRequestedAt: w.in.Now.String()}
	}
	for _, p := range w.pods {
		if !w.accepts(p.value) {
			t.Fatalf("a Pod that took %s at its start, %s ago, is refused", p.value, w.in.Now.Sub(p.Since))
		}
		if rapid.IntRange(0, 4).Draw(t, "use") == 0 {
			w.use(p.value)
		}
	}
	if !w.accepts(w.reader.value) {
		t.Fatalf("a reader that read %s %s ago is refused", w.reader.value, w.in.Now.Sub(w.reader.at))
	}
	w.use(w.reader.value)
}

func TestAConsumerThatReadsAgainIsNeverRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &rotatingWorld{holds: "s0", overlap: rapid.SampledFrom([]time.Duration{20 * time.Minute, 5 * time.Hour, 24 * time.Hour}).Draw(t, "overlap")}
		w.in = input(rotating(0))
		w.in.App.Spec.Credentials.Rotation.Overlap = &metav1.Duration{Duration: w.overlap}
		w.in.App.Status.Secrets, w.in.Secret.SecretID = nil, "s0"
		w.secrets = []plan.ClientSecret{{ID: "s0", CreatedAt: now}}
		w.reader.value, w.reader.at, w.since = "s0", now, now
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			w.happen(t)
			switch manager := rapid.IntRange(0, 5).Draw(t, "manager"); {
			case w.cutOff: // another takes over
				w.pass(t, 100)
			case manager == 0: // it is away
			case manager == 1:
				w.pass(t, rapid.IntRange(0, 4).Draw(t, "dies after"))
			default:
				w.pass(t, 100)
			}
		}
		// Left alone, it comes to rest.
		w.in.App.Annotations, w.pods = nil, nil
		w.in.App.Spec.Credentials.Rotation.Interval = nil
		for range 3 {
			w.in.Now, w.flushed = w.in.Now.Add(w.overlap), w.in.Now.Add(w.overlap)
			w.pass(t, 100)
		}
		require.Len(t, w.secrets, 1)
		require.Equal(t, w.holds, w.secrets[0].ID)
		require.Len(t, w.in.App.Status.Secrets, 1)
		require.Zero(t, plan.NextLook(w.in.App, w.in.Now))
	})
}

// Somebody applies an old copy of the Secret, whose client secret was replaced an
// hour before. Who reads it then has as much time as after any rotation.
func TestASecretThatCameBackIsReplacedAnew(t *testing.T) {
	in := input(replaced(time.Hour))
	in.Secret.SecretID = "s0"
	require.Equal(t, []string{"make a client secret", "publish the Secret"}, steps(plan.Make(in)))
	in.App.Status.Secrets = plan.Published(in, "s2", true, func(string) bool { return false })
	in.Secret.SecretID = "s2"
	in.Live.Client.Secrets[1].ExpiresAt = now.Add(24 * time.Hour)
	in.Live.Client.Secrets = append(in.Live.Client.Secrets, plan.ClientSecret{ID: "s2", CreatedAt: now})

	in.Now, in.Live.Client.CompleteUntil = now.Add(time.Minute), now.Add(time.Minute)
	require.Empty(t, steps(plan.Make(in)), "a reader of files has not read again yet")

	in.Now, in.Live.Client.CompleteUntil = now.Add(15*time.Minute), now.Add(15*time.Minute)
	in.Holders.Pods = []plan.Holder{{Pod: "p", Secret: "app-credentials", Since: now.Add(-time.Minute)}}
	require.Empty(t, steps(plan.Make(in)), "a Pod started with it")
	in.Holders.Pods = nil
	require.Equal(t, []string{"delete a client secret s0"}, steps(plan.Make(in)))
}

// Who asks for another client secret may have revoked the one in the Secret, and the
// server may have forgotten that.
func TestASecretThatIsToBeReplacedIsNotGivenBack(t *testing.T) {
	forgotten := secrets()
	require.Equal(t, []string{"give the published secret back s1", "publish the Secret"}, steps(plan.Make(input(rotating(time.Hour), forgotten))))
	require.Equal(t, []string{"give the published secret back s1", "publish the Secret"}, steps(plan.Make(input(rotating(time.Hour), asking("a"), forgotten))))
	require.Equal(t, []string{"make a client secret", "publish the Secret"}, steps(plan.Make(input(rotating(time.Hour), asking("b"), forgotten))))
}

// A status can be edited: what it says of the client secret that is in the Secret
// does not end that.
func TestTheSecretThatIsPublishedIsNotRetired(t *testing.T) {
	in := input(replaced(time.Hour))
	at := *in.App.Status.Secrets[0].ReplacedAt
	in.App.Status.Secrets = []v1alpha1.ClientSecretStatus{{ID: "s1", ReplacedAt: &at}, {ID: "s0", CreatedAt: &at}}
	in.Live.Client.Secrets = []plan.ClientSecret{{ID: "s0", CreatedAt: at.Time}, {ID: "s1", CreatedAt: at.Add(-time.Hour), LastUsed: at.Add(-time.Minute)}}
	require.Empty(t, steps(plan.Make(in)))
}
