// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
)

// Reasons of Events about what only a person can mend.
const (
	// eventKeyLost: the encryption key by which the bundled token server's database can
	// be read is gone, or another is in its place.
	//
	//   - TokenServer and ConfigMap Events: Put the key back, as the message says
	//     (docs/runbooks/encryption-key-missing.md).
	eventKeyLost = "EncryptionKeyLost"
	// eventNotOurs: a Secret or ConfigMap of the bundled token server that somebody
	// else made cannot be used; the message says why.
	//
	//   - TokenServer and Secret and ConfigMap Events: Do what the message says.
	eventNotOurs = "NotUsable"
)

const actionBootstrap = "Bootstrap"

// problem is what only a person can mend. Its text names the object, the key and
// what to do, and holds no secret.
type problem struct {
	reason string
	// about is where the Event goes.
	about client.Object
	text  string
}

func (p *problem) Error() string { return p.text }

func problemf(reason string, about client.Object, format string, args ...any) *problem {
	return &problem{reason: reason, about: about, text: fmt.Sprintf(format, args...)}
}

// onlyForPeople tells whether trying again cannot help.
func onlyForPeople(err error) bool {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		_, is := errors.AsType[*problem](err)
		return is
	}
	for _, part := range joined.Unwrap() {
		if !onlyForPeople(part) {
			return false
		}
	}
	return true
}

// trouble is what the last pass found that only a person can mend.
type trouble struct{ text atomic.Pointer[string] }

// Trouble says what keeps the bundled token server from working and only a
// person can mend; empty when nothing is known. It is safe for concurrent use.
func (r *Runnable) Trouble() string {
	if text := r.trouble.text.Load(); text != nil {
		return *text
	}
	return ""
}

// TroubleOf is Trouble for a TokenServer that is the bundled one, and empty for
// others.
func (r *Runnable) TroubleOf(server *v1alpha1.TokenServer) string {
	if !r.isBundled(server) {
		return ""
	}
	return r.Trouble()
}

// isBundled tells whether a TokenServer is the one that uses what is made here: by
// the authority that it is trusted by, or its Service.
func (r *Runnable) isBundled(server *v1alpha1.TokenServer) bool {
	if ca := server.Spec.CABundle; ca != nil && ca.ConfigMapRef.Name == CAConfigMap {
		return true
	}
	for _, raw := range []string{server.Spec.URL, server.Spec.InternalURL} {
		if u, err := url.Parse(raw); err == nil && slices.Contains(serviceNames(r.Namespace), u.Hostname()) {
			return true
		}
	}
	return false
}

// report tells people of problems when they are others than before.
func (r *Runnable) report(ctx context.Context, found []error) {
	var problems []*problem
	var texts []string
	for _, err := range found {
		if p, ok := errors.AsType[*problem](err); ok {
			problems, texts = append(problems, p), append(texts, p.text)
		} else if err != nil && r.Trouble() != "" {
			return // not known: what was said before still holds
		}
	}
	text := strings.Join(texts, "; ")
	if text == r.Trouble() {
		return
	}
	r.trouble.text.Store(&text)
	if text == "" {
		log.FromContext(ctx).Info("what the token server needs is there again")
		return
	}
	servers := r.bundledServers(ctx)
	for _, p := range problems {
		log.FromContext(ctx).Error(nil, p.text, "reason", p.reason)
		for _, about := range slices.Concat(servers, []client.Object{p.about}) {
			r.event(about, corev1.EventTypeWarning, p.reason, p.text)
		}
	}
}

func (r *Runnable) bundledServers(ctx context.Context) []client.Object {
	servers := &v1alpha1.TokenServerList{}
	if err := r.Client.List(ctx, servers); err != nil {
		log.FromContext(ctx).Error(err, "listing TokenServers, to tell them of a problem")
	}
	var bundled []client.Object
	for i := range servers.Items {
		if r.isBundled(&servers.Items[i]) {
			bundled = append(bundled, &servers.Items[i])
		}
	}
	return bundled
}

// tellWrite tells of a change: a repair names who made it necessary, since only
// they can end a fight.
func (r *Runnable) tellWrite(ctx context.Context, o client.Object, reason string) {
	logger := log.FromContext(ctx).WithValues("kind", kindOf(o), "name", o.GetName())
	if reason == eventRenewed {
		logger.Info("renewed")
		r.event(o, corev1.EventTypeNormal, reason, "a certificate was renewed in time")
		return
	}
	by := lastChangedBy(o)
	logger.Info("put back what was changed or removed", "changedBy", by)
	text := "what was changed or removed was put back"
	if by != "" {
		text += "; the field manager " + by + " changed it last"
	}
	r.event(o, corev1.EventTypeWarning, reason, text)
}

func (r *Runnable) event(about client.Object, kind, reason, text string) {
	if r.Recorder != nil {
		r.Recorder.Eventf(about, nil, kind, reason, actionBootstrap, "%s", text)
	}
}
