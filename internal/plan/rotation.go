// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
)

const (
	defaultOverlap = 24 * time.Hour
	// retireAfter is how long a client secret that was replaced is accepted at
	// least: a mounted Secret reaches its readers a minute or two late.
	retireAfter = 10 * time.Minute
	// writtenBehind is how late a server tells of the last use of a secret, and some
	// time for its clock to differ.
	writtenBehind = time.Minute
	// startedBehind is how long after a Secret changed a Pod that starts may be
	// given what it held before.
	startedBehind = 2 * time.Minute
	// clocksDiffer is by how much clocks of different machines may.
	clocksDiffer = 5 * time.Minute
	// maxSecretNames bounds the names of Secrets that are remembered.
	maxSecretNames = 16
	// maxRequest bounds what is repeated of an annotation.
	maxRequest = 64
)

// Holders are the Pods of a namespace that took values from Secrets when they
// started, and will not see another value before they start again.
type Holders struct {
	// Unknown: Pods could not be listed.
	Unknown bool
	// Pods are those that run, or are going to.
	Pods []Holder
}

// Holder is a Pod that takes values from a Secret when it starts.
type Holder struct {
	Pod, Secret string
	// Since is when the Pod was made; it started later.
	Since time.Time
}

// Overlap is how long a client secret that is replaced is accepted at the
// longest.
func Overlap(app *v1alpha1.ConnectedApp) time.Duration {
	if r := rotation(app); r.Overlap != nil {
		return r.Overlap.Duration
	}
	if interval := interval(app); interval > 0 {
		return min(defaultOverlap, interval)
	}
	return defaultOverlap
}

func rotation(app *v1alpha1.ConnectedApp) v1alpha1.Rotation {
	if app.Spec.Credentials == nil || app.Spec.Credentials.Rotation == nil {
		return v1alpha1.Rotation{}
	}
	return *app.Spec.Credentials.Rotation
}

// interval is the time between two rotations; 0: there is no schedule.
func interval(app *v1alpha1.ConnectedApp) time.Duration {
	if r := rotation(app); r.Interval != nil {
		return r.Interval.Duration
	}
	return 0
}

// scheduled is when a client secret is replaced that was published at a time: up
// to a tenth of the interval early, for each app another part of it.
func scheduled(app *v1alpha1.ConnectedApp, published time.Time) time.Time {
	every := interval(app)
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(app.UID))
	early := float64(every) / 10 * float64(hash.Sum32()) / (1 << 32)
	return published.Add(every - time.Duration(early))
}

// request is what the annotation asks for, as the status repeats it; empty:
// nothing.
func request(app *v1alpha1.ConnectedApp) string {
	value := app.Annotations[v1alpha1.AnnotationRotateRequestedAt]
	if len(value) <= maxRequest {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	return "sha256:" + hex.EncodeToString(sum[:16])
}

func isRequested(app *v1alpha1.ConnectedApp) bool {
	asked := request(app)
	return asked != "" && asked != app.Status.LastHandledRotateAt
}

// Handled is the request that counts as followed once the Secret holds a client
// secret. One that is not on record is new: it answers whatever was asked before,
// also when the pass that made it, or the whole status, was lost.
func Handled(in Input, current string) string {
	if current == "" || record(in.App, current) != nil {
		return in.App.Status.LastHandledRotateAt
	}
	return cmp.Or(request(in.App), in.App.Status.LastHandledRotateAt)
}

// record is what the status tells of a client secret; nil: nothing.
func record(app *v1alpha1.ConnectedApp, id string) *v1alpha1.ClientSecretStatus {
	i := slices.IndexFunc(app.Status.Secrets, func(s v1alpha1.ClientSecretStatus) bool { return s.ID == id })
	if i < 0 {
		return nil
	}
	return &app.Status.Secrets[i]
}

// formers are the client secrets that were replaced, the oldest first.
func formers(app *v1alpha1.ConnectedApp) []v1alpha1.ClientSecretStatus {
	return slices.DeleteFunc(slices.Clone(app.Status.Secrets), func(s v1alpha1.ClientSecretStatus) bool { return s.ReplacedAt == nil })
}

// NotOver are the client secrets on record without those that were replaced and
// have come to their end, by the status alone. An app of a type without a client
// secret has none.
func NotOver(app *v1alpha1.ConnectedApp, now time.Time) []v1alpha1.ClientSecretStatus {
	if !app.CredentialsType().HasClientSecret() {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(app.Status.Secrets), func(s v1alpha1.ClientSecretStatus) bool {
		return s.ReplacedAt != nil && s.ExpiresAt != nil && !now.Before(s.ExpiresAt.Time)
	})
}

// liveSecret is what the server tells of a client secret; nil: nothing.
func liveSecret(in Input, id string) *ClientSecret {
	if in.Live == nil || in.Live.Client == nil || !in.Live.Client.SecretsKnown {
		return nil
	}
	i := slices.IndexFunc(in.Live.Client.Secrets, func(s ClientSecret) bool { return s.ID == id })
	if i < 0 {
		return nil
	}
	return &in.Live.Client.Secrets[i]
}

// leavesSecrets tells whether client secrets are not the manager's to replace or
// to retire.
func leavesSecrets(in Input) bool {
	return in.App.CredentialsType() != v1alpha1.CredentialsSecret || in.App.Suspended() || !in.App.DeletionTimestamp.IsZero()
}

// RotationDue tells whether the client secret in the Secret is to be replaced, as
// far as the status tells: the server has to be asked for the rest.
func RotationDue(in Input) bool {
	published := record(in.App, in.Secret.SecretID)
	if in.Secret.SecretID == "" || published == nil || leavesSecrets(in) {
		return false // without a record it is about to get one
	}
	return isRequested(in.App) || in.Server.Secrets && published.CreatedAt != nil && onSchedule(in, published.CreatedAt.Time)
}

func onSchedule(in Input, published time.Time) bool {
	return interval(in.App) > 0 && !in.Now.Before(scheduled(in.App, published))
}

// rotates tells whether the client secret in the Secret, which is valid, is
// replaced now. A status can be written by others: by the server's word it is not
// older than it is. What somebody else did to the Secret is repaired first.
func rotates(in Input, r Result) bool {
	if !RotationDue(in) || r.Repairs || !ownSecret(in, r.Target) || !publishedIsValid(in) {
		return false
	}
	if !in.Server.Secrets {
		return isRequested(in.App)
	}
	made := liveSecret(in, in.Secret.SecretID)
	if made == nil || len(acceptedOnRecord(in)) >= maxReplaced {
		return false
	}
	return isRequested(in.App) || made.CreatedAt.After(in.Now) || onSchedule(in, made.CreatedAt) // after now: a clock was set back
}

// acceptedOnRecord are the client secrets that were published and that the server
// accepts.
func acceptedOnRecord(in Input) []ClientSecret {
	return slices.DeleteFunc(slices.Clone(in.Live.Client.Secrets), func(s ClientSecret) bool { return record(in.App, s.ID) == nil })
}

// firstLook is when it may be known for the first time that nobody needs a client
// secret that was replaced.
func firstLook(former v1alpha1.ClientSecretStatus) time.Time {
	return former.ReplacedAt.Add(retireAfter + writtenBehind)
}

// RetirementDue is since when the server could tell that a client secret is not
// needed any more; zero: it could not, or that is known not to be so.
func RetirementDue(in Input) time.Time {
	var since time.Time
	if leavesSecrets(in) || !in.Server.Secrets {
		return since
	}
	for _, former := range formers(in.App) {
		isUsed := former.LastUsedAt != nil && !former.LastUsedAt.Before(former.ReplacedAt)
		if look := firstLook(former); !isUsed && !in.Now.Before(look) && look.After(since) {
			since = look
		}
	}
	return since
}

// AsksForHolders tells whether all but the Pods speaks for retiring a client
// secret.
func AsksForHolders(in Input) bool {
	return slices.ContainsFunc(formers(in.App), func(f v1alpha1.ClientSecretStatus) bool { return isNeeded(in, f) == nil })
}

// retirements end client secrets that are known not to be needed any more.
func retirements(in Input) []Action {
	var actions []Action
	for _, former := range formers(in.App) {
		if isNeeded(in, former) == nil && isHeld(in, former) == nil {
			actions = append(actions, Action{Kind: DeleteSecret, ID: former.ID})
		}
	}
	return actions
}

// because is why a client secret that was replaced is not retired.
func because(reason, format string, args ...any) *Hold {
	return &Hold{Condition: v1alpha1.ConditionRotating, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// isNeeded is why a client secret may still be needed, as far as the server can
// tell; nil: nobody uses it. Times of the server are compared with its own: the
// next secret was made there shortly before it was published here.
func isNeeded(in Input, former v1alpha1.ClientSecretStatus) *Hold {
	since := in.Now.Sub(former.ReplacedAt.Time)
	live := liveSecret(in, former.ID)
	switch {
	case in.App.Suspended():
		return because(v1alpha1.ReasonOverlap, "spec.suspend is true, so that it is not retired earlier")
	case leavesSecrets(in):
		return because(v1alpha1.ReasonOverlap, "it is left to its end")
	case former.ID == in.Secret.SecretID:
		return because(v1alpha1.ReasonOverlap, "it is the one in the Secret")
	case since < retireAfter:
		return because(v1alpha1.ReasonOverlap, "from %s on it is retired as soon as nobody needs it any more",
			timeText(former.ReplacedAt.Add(retireAfter)))
	case live == nil || in.Secret.SecretID == "" || !publishedIsValid(in):
		return because(v1alpha1.ReasonOverlap, "it is not known yet whether somebody needs it")
	}
	next := successor(in, former)
	switch {
	case next == nil || next.CreatedAt.IsZero():
		return because(v1alpha1.ReasonOverlap, "the token server does not tell when it was replaced, so that it is not retired earlier")
	case !live.LastUsed.Before(next.CreatedAt):
		return because(v1alpha1.ReasonFormerSecretUsed, "it was used after it was replaced, by somebody who had not read the Secret again")
	case in.Live.Client.CompleteUntil.Sub(next.CreatedAt) < retireAfter:
		return because(v1alpha1.ReasonOverlap, "the token server has not told yet that nobody uses it")
	}
	return nil
}

// successor is the client secret that was published in place of another; nil when
// the server does not have it any more.
func successor(in Input, former v1alpha1.ClientSecretStatus) *ClientSecret {
	for _, s := range in.App.Status.Secrets {
		if s.ID != former.ID && s.CreatedAt != nil && s.CreatedAt.Equal(former.ReplacedAt) {
			return liveSecret(in, s.ID)
		}
	}
	return nil
}

// isHeld is which Pods still hold a client secret; nil: none does.
func isHeld(in Input, former v1alpha1.ClientSecretStatus) *Hold {
	if in.Holders == nil || in.Holders.Unknown {
		return because(v1alpha1.ReasonOverlap, "the manager cannot list the Pods of the namespace, some of which may hold it")
	}
	names := former.SecretNames
	if len(names) == 0 {
		names = []string{in.Secret.Name}
	}
	if len(names) >= maxSecretNames {
		return because(v1alpha1.ReasonOverlap, "it was in so many Secrets that nobody knows which Pods may hold it")
	}
	var pods []string
	for _, h := range in.Holders.Pods {
		if slices.Contains(names, h.Secret) && h.Since.Before(former.ReplacedAt.Add(startedBehind)) && !slices.Contains(pods, h.Pod) {
			pods = append(pods, h.Pod)
		}
	}
	if len(pods) == 0 {
		return nil
	}
	slices.Sort(pods)
	return because(v1alpha1.ReasonFormerSecretHeld, "Pods took it when they started, and do not see another before they are restarted: %s", firstThree(pods))
}

// firstThree lists three at most, and how many more there are.
func firstThree(names []string) string {
	if len(names) <= 3 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Rotating is what the condition of that name says; nil: it is absent. With
// isFalse no rotation is carried out. What is known for the present pass alone,
// when the server told nothing, is not known: the condition stays as it is.
func Rotating(in Input) (says *Hold, isFalse, known bool) {
	list := formers(in.App)
	if len(list) == 0 {
		says = notPossible(in)
		return says, says != nil, in.Live != nil
	}
	ids, last := make([]string, len(list)), time.Time{}
	for i, former := range list {
		ids[i] = former.ID
		if former.ExpiresAt != nil && former.ExpiresAt.After(last) {
			last = former.ExpiresAt.Time
		}
	}
	why := isNeeded(in, list[0])
	if why == nil {
		why = isHeld(in, list[0])
	}
	if why == nil {
		why = because(v1alpha1.ReasonOverlap, "nobody needs it any more, and it is being retired")
	}
	subject := "client secret " + ids[0] + " is accepted beside the one in the Secret"
	if len(ids) > 1 {
		subject = "client secrets " + firstThree(ids) + " are accepted beside the one in the Secret"
		why.Message = "of " + ids[0] + ": " + why.Message
	}
	until := ""
	if !last.IsZero() {
		until = " until " + timeText(last) + " at the longest"
	}
	why.Message = subject + until + "; " + why.Message
	if isRequested(in.App) && len(list)+1 >= maxReplaced {
		why.Message += "; another rotation waits until one of them ends"
	}
	known = in.Now.Sub(list[0].ReplacedAt.Time) < retireAfter || liveSecret(in, list[0].ID) != nil
	return why, false, known
}

// notPossible is why a rotation that is asked for is not carried out; nil: none
// is asked for, or it will be.
func notPossible(in Input) *Hold {
	const reason = v1alpha1.ReasonRotationNotPossible
	kind := in.App.CredentialsType()
	switch {
	case kind == v1alpha1.CredentialsExistingSecret && isRequested(in.App):
		return because(reason, "annotation %s asks for a rotation, but the client secret is made by somebody else: put a new one into secret %s",
			v1alpha1.AnnotationRotateRequestedAt, in.App.CredentialsSecretName())
	case kind == v1alpha1.CredentialsNone && isRequested(in.App):
		return because(reason, "annotation %s asks for a rotation, but a Public client has no secret; take it off", v1alpha1.AnnotationRotateRequestedAt)
	case kind == v1alpha1.CredentialsPrivateKey && isRequested(in.App):
		return because(reason, "annotation %s asks for a rotation, but an app with credentials of type PrivateKey has no client secret; "+
			"put the public part of another key into spec.publicKeys, and take the annotation off", v1alpha1.AnnotationRotateRequestedAt)
	case kind == v1alpha1.CredentialsServiceAccount && isRequested(in.App):
		return because(reason, "annotation %s asks for a rotation, but an app with credentials of type ServiceAccount has no client secret: "+
			"the cluster renews the tokens of its Pods; take it off", v1alpha1.AnnotationRotateRequestedAt)
	case kind == v1alpha1.CredentialsSecret && interval(in.App) > 0 && !in.Server.Secrets:
		return because(reason, "spec.credentials.rotation.interval is not followed: TokenServer %s accepts one secret of a client at a time, "+
			"so that each rotation is an outage until everybody has read the Secret again; ask for one when that does no harm, with the annotation %s",
			in.Server.Name, v1alpha1.AnnotationRotateRequestedAt)
	}
	return nil
}

// Published is the list of client secrets for the status, once the Secret holds
// current; empty: it holds none that is as it was written. made tells that it was
// made in this pass, so that the server gave the others an end; ended, which are
// not accepted any more.
func Published(in Input, current string, made bool, ended func(id string) bool) []v1alpha1.ClientSecretStatus {
	var list []v1alpha1.ClientSecretStatus
	onRecord := false
	for _, s := range in.App.Status.Secrets {
		s = *s.DeepCopy()
		switch {
		case s.ID == current:
			onRecord = true
			list = append(list, published(in, s))
		case ended(s.ID):
		case current == "":
			list = append(list, s)
		default:
			list = append(list, replaced(in, s, made))
		}
	}
	if current != "" && !onRecord {
		list = append(list, published(in, v1alpha1.ClientSecretStatus{ID: current}))
	}
	return list
}

// published is the record of the client secret in the Secret.
func published(in Input, s v1alpha1.ClientSecretStatus) v1alpha1.ClientSecretStatus {
	s.ReplacedAt, s.ExpiresAt = nil, nil
	if s.CreatedAt == nil || s.CreatedAt.After(in.Now.Add(clocksDiffer)) { // or a clock that was set back stops the schedule
		s.CreatedAt = atSecond(in.Now)
	}
	if live := liveSecret(in, s.ID); live != nil && live.CreatedAt.After(s.CreatedAt.Add(clocksDiffer)) && live.CreatedAt.Before(in.Now) {
		s.CreatedAt = atSecond(live.CreatedAt)
	}
	if !slices.Contains(s.SecretNames, in.Secret.Name) {
		s.SecretNames = append(s.SecretNames, in.Secret.Name)
	}
	s.SecretNames = s.SecretNames[max(0, len(s.SecretNames)-maxSecretNames):]
	return s
}

// replaced is the record of a client secret that is not in the Secret any more.
// One that came back into it, from a copy that somebody applied, was replaced anew:
// it may have been read meanwhile.
func replaced(in Input, s v1alpha1.ClientSecretStatus, made bool) v1alpha1.ClientSecretStatus {
	if s.ReplacedAt == nil || s.ID == in.Secret.SecretID {
		s.ReplacedAt = atSecond(in.Now)
	}
	if live := liveSecret(in, s.ID); live != nil {
		if end := live.ExpiresAt; !end.IsZero() && (s.ExpiresAt == nil || end.Sub(s.ExpiresAt.Time).Abs() > clocksDiffer) {
			s.ExpiresAt = atSecond(end)
		}
		if isNews(s, live.LastUsed) {
			s.LastUsedAt = atSecond(live.LastUsed)
		}
	}
	if end := in.Now.Add(Overlap(in.App)); made && (s.ExpiresAt == nil || s.ExpiresAt.After(end)) {
		s.ExpiresAt = atSecond(end)
	}
	return s
}

// isNews tells whether a use is worth a write of the status: each hour, and when
// it tells that somebody has not read the Secret again.
func isNews(s v1alpha1.ClientSecretStatus, used time.Time) bool {
	switch {
	case used.IsZero():
		return false
	case s.LastUsedAt == nil:
		return true
	}
	before := s.LastUsedAt.Before(s.ReplacedAt)
	return used.Sub(s.LastUsedAt.Time) >= time.Hour || before && !used.Before(s.ReplacedAt.Time)
}

// NextLook is how long after now the next rotation, retirement or end of a client
// secret is due; 0: none is, or it is due already and waits for something else.
func NextLook(app *v1alpha1.ConnectedApp, now time.Time) time.Duration {
	var next time.Duration
	consider := func(at time.Time) {
		if left := at.Sub(now); left > 0 && (next == 0 || left < next) {
			next = left
		}
	}
	for _, s := range app.Status.Secrets {
		switch {
		case s.ReplacedAt == nil && s.CreatedAt != nil && interval(app) > 0 && !app.Suspended():
			consider(scheduled(app, s.CreatedAt.Time))
		case s.ReplacedAt != nil:
			consider(firstLook(s))
			if s.ExpiresAt != nil {
				consider(s.ExpiresAt.Time)
			}
		}
	}
	return next
}

// atSecond is a time as a status holds it.
func atSecond(t time.Time) *metav1.Time { return new(metav1.NewTime(t.Truncate(time.Second))) }
