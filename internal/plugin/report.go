// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
)

// Report is all that there is to say of one object.
type Report struct {
	Namespace string                 `json:"namespace"`
	Kind      string                 `json:"kind"`
	Name      string                 `json:"name"`
	Ready     metav1.ConditionStatus `json:"ready"`
	Reason    string                 `json:"reason,omitempty"`
	Message   string                 `json:"message,omitempty"`
	Findings  []Finding              `json:"findings"`
	// NextSteps are for what is not well; none when all is.
	NextSteps []NextStep `json:"nextSteps"`
}

// Finding is what was found of a part of an object.
type Finding struct {
	// Subject is the part.
	Subject string `json:"subject"`
	// OK is True when it is well, False when it is not, Unknown when nobody can
	// tell, or the user may not read it; empty when it is neither.
	OK metav1.ConditionStatus `json:"ok,omitempty"`
	// Text is for people.
	Text string `json:"text"`
}

// Subjects of findings.
const (
	subjectPolicy       = "Policy"
	subjectRegistration = "Registration"
	subjectServer       = "Token server"
	subjectDrift        = "Drift"
	subjectSecret       = "Secret"
	subjectRotation     = "Rotation"
	subjectToken        = "Token"
	subjectTokens       = "Tokens"
	subjectApp          = "App"
	subjectWorkloads    = "Workloads"
	subjectEvents       = "Events"
)

// mostEvents is how many Events a report has.
const mostEvents = 5

// StatusOf shows one object: whether it is ready, why not, and what to do. What has
// no kind is the ConnectedApp of the name, or else the AccessToken.
func (p *Plugin) StatusOf(ctx context.Context, what string) error {
	kind, name, err := parseName(what)
	if err != nil {
		return err
	}
	var report *Report
	if kind != kindToken {
		report, err = p.reportApp(ctx, name)
	}
	if kind == kindToken || kind == "" && isNotFound(err) {
		report, err = p.reportToken(ctx, name)
	}
	switch {
	case kind == "" && isNotFound(err):
		return p.neither(name)
	case err != nil:
		return err
	}
	return p.write(answer{report, []string{nameOf(report.Kind, name)}, func(w io.Writer) { report.print(w, p.Color) }})
}

func newReport(kind string, object reported) *Report {
	r := &Report{Namespace: object.GetNamespace(), Kind: kind, Name: object.GetName(), Findings: []Finding{}, NextSteps: []NextStep{}}
	r.Ready, r.Reason, r.Message = ready(object)
	return r
}

func (p *Plugin) reportApp(ctx context.Context, name string) (*Report, error) {
	app, now := &v1alpha1.ConnectedApp{}, time.Now()
	if err := p.get(ctx, name, kindApp, app); err != nil {
		return nil, err
	}
	r := newReport(kindApp, app)
	r.condition(app, subjectPolicy, v1alpha1.ConditionPolicyAccepted, "not judged yet")
	r.condition(app, subjectRegistration, v1alpha1.ConditionRegistered, "not registered yet")
	p.reportServer(ctx, r, app.TokenServerName())
	r.condition(app, subjectDrift, v1alpha1.ConditionDrifted, "")
	r.condition(app, subjectSecret, v1alpha1.ConditionSecretPublished, "not published yet")
	p.reportSecret(ctx, r, app.CredentialsType() == v1alpha1.CredentialsServiceAccount, app.PublishedSecretName(), app.Status.ClientID)
	r.rotation(app, now)
	p.reportTokens(ctx, r, app, now)
	r.condition(app, subjectWorkloads, v1alpha1.ConditionWorkloadsCurrent, "")
	p.reportEvents(ctx, r, now)
	r.next(app)
	return r, nil
}

func (p *Plugin) reportToken(ctx context.Context, name string) (*Report, error) {
	token, now := &v1alpha1.AccessToken{}, time.Now()
	if err := p.get(ctx, name, kindToken, token); err != nil {
		return nil, err
	}
	r := newReport(kindToken, token)
	p.reportItsApp(ctx, r, token.Spec.ConnectedAppRef.Name)
	r.condition(token, subjectToken, v1alpha1.ConditionTokenFresh, "none yet")
	if o := tokenOverview(token); !o.ExpiresAt.IsZero() {
		r.find(subjectToken, "", "expires %s, is refreshed %s", until(o.ExpiresAt, now), until(o.NextRefresh, now))
	}
	p.reportSecret(ctx, r, false, token.SecretName(), "")
	r.condition(token, subjectWorkloads, v1alpha1.ConditionWorkloadsCurrent, "")
	p.reportEvents(ctx, r, now)
	r.next(token)
	return r, nil
}

func (r *Report) find(subject string, ok metav1.ConditionStatus, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{subject, ok, fmt.Sprintf(format, args...)})
}

// cannot notes that something could not be found out, which is no failure.
func (r *Report) cannot(subject string, err error) {
	r.find(subject, metav1.ConditionUnknown, "not known: %v", err)
}

// badWhenTrue are conditions that are about something that is not well.
var badWhenTrue = map[string]bool{v1alpha1.ConditionDrifted: true}

// condition tells of a condition; none is what its absence means, and empty when
// that is not worth a line.
func (r *Report) condition(object reported, subject, kind, none string) {
	c := meta.FindStatusCondition(*object.GetConditions(), kind)
	switch {
	case c == nil && none != "":
		r.find(subject, metav1.ConditionUnknown, "%s", none)
	case c == nil:
	case badWhenTrue[kind]:
		r.find(subject, map[metav1.ConditionStatus]metav1.ConditionStatus{"True": "False", "False": "True"}[c.Status], "%s: %s", c.Reason, c.Message)
	case kind == v1alpha1.ConditionRotating: // True and False are neither well nor not
		ok := metav1.ConditionStatus("")
		if stepFor(c.Reason) != nothingToDo {
			ok = metav1.ConditionUnknown
		}
		r.find(subject, ok, "%s: %s", c.Reason, c.Message)
	case c.Reason == r.Reason && c.Message == r.Message && c.Status != metav1.ConditionTrue:
		r.find(subject, c.Status, "%s: as above", c.Reason)
	default:
		r.find(subject, c.Status, "%s: %s", c.Reason, c.Message)
	}
}

// reportServer tells of the TokenServer to those who may read it.
func (p *Plugin) reportServer(ctx context.Context, r *Report, name string) {
	server, err := p.tokenServer(ctx, name)
	if err != nil {
		r.cannot(subjectServer, err)
		return
	}
	c := meta.FindStatusCondition(server.Status.Conditions, v1alpha1.ConditionReady)
	if c == nil {
		c = &metav1.Condition{Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonProgressing, Message: "the manager has not seen it yet"}
	}
	r.find(subjectServer, c.Status, "%s, at %s: %s: %s", name, server.Spec.URL, c.Reason, c.Message)
	if c.Status != metav1.ConditionTrue {
		r.step(stepFor(c.Reason))
	}
}

// reportSecret tells which keys the Secret has, and nothing of what they hold.
func (p *Plugin) reportSecret(ctx context.Context, r *Report, isConfigMap bool, name, clientID string) {
	var keys []string
	var object client.Object
	var err error
	what := "Secret " + name
	if isConfigMap {
		what = "ConfigMap " + name
		found := &corev1.ConfigMap{}
		err = p.read(ctx, p.Namespace, name, what, found)
		keys, object = slices.Sorted(maps.Keys(found.Data)), found
	} else {
		found := &corev1.Secret{}
		err = p.read(ctx, p.Namespace, name, what, found)
		keys, object = slices.Sorted(maps.Keys(found.Data)), found
	}
	switch {
	case isNotFound(err):
		r.find(subjectSecret, metav1.ConditionFalse, "%v", err)
	case err != nil:
		r.cannot(subjectSecret, err)
	case clientID != "" && object.GetAnnotations()[v1alpha1.AnnotationClientID] != clientID:
		r.find(subjectSecret, metav1.ConditionFalse, "%s is not of this client", what)
	default:
		r.find(subjectSecret, "", "%s has the keys %s", what, strings.Join(keys, ", "))
	}
}

// rotation tells when the client secret is replaced, and which ones that were are
// accepted still.
func (r *Report) rotation(app *v1alpha1.ConnectedApp, now time.Time) {
	r.condition(app, subjectRotation, v1alpha1.ConditionRotating, "")
	if next := appOverview(app).NextRotation; !next.IsZero() {
		r.find(subjectRotation, "", "the client secret is replaced %s", until(next, now))
	}
	for _, s := range app.Status.Secrets {
		if s.ReplacedAt != nil {
			r.find(subjectRotation, "", "client secret %s was replaced %s, its end is %s, it was last seen used %s",
				s.ID, until(timeOf(s.ReplacedAt), now), cmp.Or(strings.Trim(until(timeOf(s.ExpiresAt), now), "-"), "not known"),
				cmp.Or(strings.Trim(until(timeOf(s.LastUsedAt), now), "-"), "never"))
		}
	}
}

// reportTokens tells of the AccessTokens of an app.
func (p *Plugin) reportTokens(ctx context.Context, r *Report, app *v1alpha1.ConnectedApp, now time.Time) {
	tokens := &v1alpha1.AccessTokenList{}
	if err := p.Client.List(ctx, tokens, client.InNamespace(p.Namespace)); err != nil {
		r.cannot(subjectTokens, worded(err, "listing AccessTokens"))
		return
	}
	for i := range tokens.Items {
		if tokens.Items[i].Spec.ConnectedAppRef.Name != app.Name {
			continue
		}
		o := tokenOverview(&tokens.Items[i])
		text := cmp.Or(o.Reason, o.Message)
		if !o.ExpiresAt.IsZero() {
			text = fmt.Sprintf("%s, expires %s, is refreshed %s", text, until(o.ExpiresAt, now), until(o.NextRefresh, now))
		}
		r.find(subjectTokens, o.Ready, "AccessToken %s: %s", o.Name, text)
	}
}

// reportItsApp tells of the ConnectedApp of an AccessToken.
func (p *Plugin) reportItsApp(ctx context.Context, r *Report, name string) {
	app := &v1alpha1.ConnectedApp{}
	if err := p.read(ctx, p.Namespace, name, "ConnectedApp "+name, app); err != nil {
		r.cannot(subjectApp, err)
		return
	}
	status, reason, message := ready(app)
	r.find(subjectApp, status, "ConnectedApp %s: %s: %s", name, cmp.Or(reason, "not seen"), message)
}

// reportEvents tells of the last Events, the newest last. They are read as those of
// the core group, which every reader of a namespace may.
func (p *Plugin) reportEvents(ctx context.Context, r *Report, now time.Time) {
	events := &corev1.EventList{}
	err := p.Client.List(ctx, events, client.InNamespace(p.Namespace), client.MatchingFields{"involvedObject.kind": r.Kind, "involvedObject.name": r.Name})
	if err != nil {
		r.cannot(subjectEvents, errors.New("you may not read events"))
		return
	}
	slices.SortStableFunc(events.Items, func(a, b corev1.Event) int { return eventTime(&a).Compare(eventTime(&b)) })
	for _, e := range events.Items[max(0, len(events.Items)-mostEvents):] {
		r.find(subjectEvents, "", "%s, %s %s: %s", until(eventTime(&e), now), e.Type, e.Reason, e.Message)
	}
}

// eventTime is when an Event was last seen.
func eventTime(e *corev1.Event) time.Time {
	if e.Series != nil && !e.Series.LastObservedTime.IsZero() {
		return e.Series.LastObservedTime.Time
	}
	for _, t := range []time.Time{e.LastTimestamp.Time, e.EventTime.Time} {
		if !t.IsZero() {
			return t
		}
	}
	return e.CreationTimestamp.Time
}

// next finds the next steps: of what keeps the object from being ready, and of what
// is not well beside.
func (r *Report) next(object reported) {
	r.step(stepFor(r.Reason))
	if c := meta.FindStatusCondition(*object.GetConditions(), v1alpha1.ConditionReady); c != nil && c.ObservedGeneration != object.GetGeneration() {
		r.step(NextStep{forNobody, "The manager has not looked at the last change of the spec. " + unseen.What})
	}
	for _, kind := range []string{
		v1alpha1.ConditionPolicyAccepted, v1alpha1.ConditionDrifted, v1alpha1.ConditionRotating, v1alpha1.ConditionWorkloadsCurrent,
	} {
		if c := meta.FindStatusCondition(*object.GetConditions(), kind); c != nil {
			r.step(stepFor(c.Reason))
		}
	}
}

// step adds a step that is not there yet.
func (r *Report) step(step NextStep) {
	if step != nothingToDo && !slices.Contains(r.NextSteps, step) {
		r.NextSteps = append(r.NextSteps, step)
	}
}

// print writes a report on one screen.
func (r *Report) print(w io.Writer, color bool) {
	status := string(r.Ready)
	if color {
		status = colored(status)
	}
	_, _ = fmt.Fprintf(w, "%s %s in namespace %s: Ready %s, %s\n", r.Kind, line(r.Name), r.Namespace, status, cmp.Or(line(r.Reason), "not seen"))
	_, _ = fmt.Fprintf(w, "%s\n\n", line(r.Message))
	rows := make([][2]string, 0, len(r.Findings)+len(r.NextSteps))
	for _, f := range r.Findings {
		text := line(f.Text)
		if color && f.OK != "" {
			text = painted(string(f.OK), text)
		}
		rows = append(rows, [2]string{f.Subject, text})
	}
	for _, s := range r.NextSteps {
		text := s.What
		if s.Who != forNobody {
			text = s.Who + ": " + text
		}
		rows = append(rows, [2]string{"Next step", text})
	}
	if len(r.NextSteps) == 0 {
		rows = append(rows, [2]string{"Next step", "none"})
	}
	before := ""
	for _, row := range rows {
		label := row[0]
		if label == before {
			label = ""
		}
		before = row[0]
		_, _ = fmt.Fprintf(w, "%-*s   %s\n", len(subjectRegistration), label, row[1])
	}
}
