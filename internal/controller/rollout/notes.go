// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"maps"
	"strings"
	"time"

	"connectedapps.dev/operator/api/v1alpha1"
)

// keyAt is the time in the notes. The names of contents have a dash.
const keyAt = "at"

// unknown stands for a content that was replaced before it was noted.
const unknown = "unknown"

const (
	// settle is how long a change waits for others that come with it.
	settle = 30 * time.Second
	// window is the shortest time from one roll-out of a workload to the next.
	window = 5 * time.Minute
)

// notes are what is noted on a workload.
type notes struct {
	// contents are of the workload's metadata, by the names of the objects.
	contents map[string]content
	// template are those that its Pod template names.
	template map[string]string
	// at is when the Pods are restarted, or were; zero: never.
	at time.Time
}

// content is that of one Secret.
type content struct {
	// started is the one that the Pods started with.
	started string
	// next is the one that they lack; empty: none.
	next string
}

// readNotes reads annotations. What somebody else made of them counts as not there.
func readNotes(metadata, template map[string]string) notes {
	n := notes{contents: map[string]content{}, template: map[string]string{}}
	for key, value := range template {
		if name, ok := strings.CutPrefix(key, v1alpha1.AnnotationsRestart); ok {
			n.template[name] = value
		}
	}
	for key, value := range metadata {
		name, ok := strings.CutPrefix(key, v1alpha1.AnnotationsRestart)
		words := strings.Fields(value)
		switch {
		case !ok:
		case name == keyAt:
			n.at, _ = time.Parse(time.RFC3339, value)
		case len(words) == 1:
			n.contents[name] = content{started: words[0]}
		case len(words) == 2:
			n.contents[name] = content{started: words[0], next: words[1]}
		}
	}
	return n
}

// annotations are those of the metadata and of the Pod template.
func (n notes) annotations() (metadata, template map[string]string) {
	metadata, template = map[string]string{}, map[string]string{}
	for name, c := range n.contents {
		metadata[v1alpha1.AnnotationsRestart+name] = strings.TrimSpace(c.started + " " + c.next)
	}
	if !n.at.IsZero() {
		metadata[v1alpha1.AnnotationsRestart+keyAt] = n.at.UTC().Format(time.RFC3339)
	}
	for name, digest := range n.template {
		template[v1alpha1.AnnotationsRestart+name] = digest
	}
	return metadata, template
}

// pending tells whether a roll-out waits for its time.
func (n notes) pending() bool {
	for _, c := range n.contents {
		if c.next != "" {
			return true
		}
	}
	return false
}

// after are the notes once a content was seen, and whether they are a roll-out: of
// all that is pending, when this content is and its time has come. What another
// object noted and does not come back to restarts nothing by itself.
func (n notes) after(seen Content, now time.Time) (next notes, restarts bool) {
	now = now.Truncate(time.Second) // as it is noted
	next = notes{contents: maps.Clone(n.contents), template: maps.Clone(n.template), at: n.at}
	next.see(seen)
	if next.contents[seen.Name].next == "" {
		return next, false
	}
	soonest, latest := now.Add(settle), now.Add(window)
	switch {
	case n.pending() && !n.at.IsZero() && !n.at.After(latest): // it is set
	case n.at.After(now): // of a change that was taken back, or from before a clock was set back
		next.at = clamp(n.at, soonest, latest)
	default: // of the last roll-out
		next.at = clamp(n.at.Add(window), soonest, latest)
	}
	if next.at.After(now) {
		return next, false
	}
	for name, c := range next.contents {
		if c.next != "" {
			next.template[name] = c.next
			next.contents[name] = content{started: c.next}
		}
	}
	next.at = now
	return next, true
}

func clamp(t, soonest, latest time.Time) time.Time {
	switch {
	case t.Before(soonest):
		return soonest
	case t.After(latest):
		return latest
	}
	return t
}

// see notes what Pods read now.
func (n notes) see(seen Content) {
	known, noted := n.contents[seen.Name]
	rolledOut := n.template[seen.Name]
	switch {
	case seen.Digest == "":
		return
	case noted && known.started == seen.Digest, !noted && rolledOut == seen.Digest:
		known = content{started: seen.Digest}
	case noted:
		known.next = seen.Digest
	case rolledOut != "":
		known = content{started: rolledOut, next: seen.Digest}
	case seen.Replaced:
		known = content{started: unknown, next: seen.Digest}
	default:
		known = content{started: seen.Digest}
	}
	n.contents[seen.Name] = known
}
