// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/registrar"
)

// comparison is how one app is compared.
type comparison struct {
	*Plugin
	// before is the object in the cluster; nil: there is none. after is as an apply
	// makes it.
	before, after *v1alpha1.ConnectedApp
	// admitted tells that the API server took the apply; denied is why the admission
	// policy for access rules did not.
	admitted bool
	denied   string
	// policy is what is allowed; nil: unknown says why that is not known.
	policy  *plan.Policy
	unknown error
	in      plan.Input
	notes   []string
}

func (c *comparison) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(c.notes, text) {
		c.notes = append(c.notes, text)
	}
}

// diff compares one app, by the plan that the manager would make.
func (p *Plugin) diff(ctx context.Context, manifest Manifest, o DiffOptions) (*AppDifference, error) {
	if manifest.GetNamespace() == "" {
		manifest.SetNamespace(p.Namespace)
	}
	c := &comparison{Plugin: p}
	if err := c.apply(ctx, manifest, o); err != nil {
		return nil, err
	}
	if c.denied != "" {
		return &AppDifference{
			Namespace: c.after.Namespace, Name: c.after.Name, ClientID: c.after.Status.ClientID, Verdict: refused, Why: c.denied,
			Actions: []DiffAction{}, Secret: noSecret, Notes: []string{"the API server does not take the apply, by the admission policy for access rules"},
		}, nil
	}
	c.in = plan.Input{Now: time.Now(), App: c.after}
	server, err := c.readPolicy(ctx)
	if err != nil {
		return nil, err
	}
	if c.in.Keys, c.in.Hindrance, err = c.keys(ctx, c.after); err != nil {
		return nil, err
	}
	if err := c.readLive(ctx, server, o.Live); err != nil {
		return nil, err
	}
	c.describeSecret()
	result := plan.Make(c.in)
	d := c.outcome(result)
	c.verdict(ctx, d, result)
	d.Notes = append([]string{}, c.notes...)
	return d, nil
}

// readPolicy finds out what the server can do and what is allowed on it.
func (c *comparison) readPolicy(ctx context.Context) (*v1alpha1.TokenServer, error) {
	name := c.after.TokenServerName()
	// What is not known is as the bundled server is.
	c.in.Server = plan.Server{Name: name, Exists: true, ExternalID: true, Secrets: true, Restore: true, WorkloadIssuer: "this cluster"}
	c.in.Policy = &plan.Policy{Unknown: true}
	server, err := c.tokenServer(ctx, name)
	switch {
	case isNotFound(err):
		c.unknown = err
		c.in.Server.Exists, c.in.Server.Away = false, &plan.Hold{Reason: v1alpha1.ReasonTokenServerNotFound, Message: err.Error()}
		return nil, nil
	case isNotReadable(err):
		c.unknown = err
		return nil, nil
	case err != nil:
		return nil, err
	}
	has := func(extension string) bool { return slices.Contains(server.Status.Extensions, extension) }
	s := &c.in.Server
	s.Deleting, s.WorkloadIssuer = !server.DeletionTimestamp.IsZero(), server.Spec.WorkloadIssuer
	s.ExternalID, s.Secrets, s.Restore = has(oauth.ExtensionExternalID), has(oauth.ExtensionSecrets), has(oauth.ExtensionRestore)
	s.NoWorkloads = !has(oauth.ExtensionFederatedIdentities)
	if c.policy, c.unknown = c.Plugin.policy(ctx, server, c.after.Namespace); c.policy != nil {
		c.in.Policy = c.policy
	}
	return server, nil
}

// keys are the public keys of an app, as the manager reads them.
func (c *comparison) keys(ctx context.Context, app *v1alpha1.ConnectedApp) ([]string, *plan.Hold, error) {
	var keys []string
	for _, key := range app.Spec.PublicKeys {
		if key.ConfigMapRef == nil {
			keys = append(keys, key.PEM)
			continue
		}
		ref, object := key.ConfigMapRef, &corev1.ConfigMap{}
		err := c.read(ctx, app.Namespace, ref.Name, "ConfigMap "+ref.Name, object)
		switch {
		case isNotReadable(err):
			c.note("%v, so that its public key is taken to be as before", err)
			object.Data = map[string]string{ref.Key: "ConfigMap " + ref.Name + ", key " + ref.Key}
		case isNotFound(err):
			return keys, &plan.Hold{Condition: v1alpha1.ConditionRegistered, Reason: v1alpha1.ReasonConfigMapNotFound, Message: err.Error()}, nil
		case err != nil:
			return nil, nil, err
		}
		keys = append(keys, object.Data[ref.Key])
	}
	return keys, nil, nil
}

// readLive finds out what there is on the token server: what the object in the
// cluster says, or what the server says itself.
func (c *comparison) readLive(ctx context.Context, server *v1alpha1.TokenServer, ask bool) error {
	if !c.in.Server.Exists {
		return nil
	}
	c.in.Live = &plan.Live{}
	id := c.after.Status.ClientID
	if id == "" {
		return nil
	}
	if ask {
		if server == nil {
			return fmt.Errorf("asking the token server: %w", c.unknown)
		}
		api, err := c.registrar(ctx, server)
		if err != nil {
			return err
		}
		defer api.Close()
		c.in.Live.Client, err = c.liveClient(ctx, api, id)
		return err
	}
	keys, _, err := c.keys(ctx, c.before)
	if err != nil {
		return err
	}
	was := plan.Desired(c.before, keys, c.in.Server.WorkloadIssuer)
	if c.policy != nil {
		was = plan.Judge(was, c.policy.Namespace, c.policy.Rules, c.policy.OrganizationID).Client
	}
	c.in.Live.Client = &plan.LiveClient{ID: id, Client: was, SecretsKnown: true}
	for _, s := range c.before.Status.Secrets {
		c.in.Live.Client.Secrets = append(c.in.Live.Client.Secrets, plan.ClientSecret{
			ID: s.ID, CreatedAt: timeOf(s.CreatedAt), ExpiresAt: timeOf(s.ExpiresAt), LastUsed: timeOf(s.LastUsedAt),
		})
	}
	c.doubts()
	return nil
}

// doubts are why the client may be another than the object in the cluster says.
func (c *comparison) doubts() {
	for _, kind := range []string{v1alpha1.ConditionPolicyAccepted, v1alpha1.ConditionRegistered} {
		if found := meta.FindStatusCondition(c.before.Status.Conditions, kind); found != nil && found.Status == metav1.ConditionFalse && c.policy == nil {
			c.note("the client may differ from the object in the cluster: %s: %s", found.Reason, found.Message)
		}
	}
	if found := meta.FindStatusCondition(c.before.Status.Conditions, v1alpha1.ConditionDrifted); found != nil && found.Status == metav1.ConditionTrue {
		c.note("the client differs from the object in the cluster: %s", found.Message)
	}
	if c.before.Status.ObservedGeneration != c.before.Generation {
		c.note("the manager has not carried out yet what the object in the cluster says")
	}
}

// liveClient is the client as the token server has it; nil: it is gone.
func (c *comparison) liveClient(ctx context.Context, api *registrar.Client, id string) (*plan.LiveClient, error) {
	app, err := api.Read(ctx, id)
	if registrar.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var scopes []oauth.ContextScope
	var secrets *oauth.SecretList
	client := plan.ClientOf(app)
	if client.ActsForItself() {
		if scopes, err = api.Scopes(ctx, id); err != nil {
			return nil, err
		}
	}
	if client.HasSecret() && c.in.Server.Secrets {
		if secrets, err = api.Secrets(ctx, id); err != nil {
			return nil, err
		}
	}
	return plan.LiveOf(app, scopes, secrets), nil
}

// noSecret is what becomes of the client secret mostly.
const noSecret = "no client secret is made"

// publication is what the Secret is made from, beside the client secret.
type publication struct {
	Name   string
	Type   v1alpha1.CredentialsType
	Spec   *v1alpha1.CredentialsSecretSpec
	Method string
	Scopes []string
}

func publicationOf(app *v1alpha1.ConnectedApp, client plan.Client) publication {
	made := publication{Name: app.PublishedSecretName(), Type: app.CredentialsType(), Method: client.Method(), Scopes: plan.TokenScopes(app, client)}
	if app.Spec.Credentials != nil {
		made.Spec = app.Spec.Credentials.Secret
	}
	return made
}

// describeSecret tells the plan of the Secret what the status says of it.
func (c *comparison) describeSecret() {
	status, kind := c.after.Status, c.after.CredentialsType()
	s := plan.Secret{Name: c.after.PublishedSecretName(), IsConfigMap: kind == v1alpha1.CredentialsServiceAccount}
	var secret, configMap string
	if status.Binding != nil {
		secret = status.Binding.Name
	}
	if status.ConfigMap != nil {
		configMap = status.ConfigMap.Name
	}
	s.Exists = !s.IsConfigMap && secret == s.Name || s.IsConfigMap && configMap == s.Name
	if s.IsConfigMap || secret != s.Name {
		s.Former = secret
	}
	if !s.IsConfigMap || configMap != s.Name {
		s.FormerConfigMap = configMap
	}
	for _, made := range status.Secrets {
		if made.ReplacedAt == nil && c.before.CredentialsType() == v1alpha1.CredentialsSecret {
			s.SecretID = made.ID
		}
	}
	s.Differs = func(target plan.Client) bool {
		live := c.in.Live.Client
		return c.before == nil || !s.Exists || live == nil ||
			!reflect.DeepEqual(publicationOf(c.before, live.Client), publicationOf(c.after, target))
	}
	c.in.Secret = s
	if kind == v1alpha1.CredentialsExistingSecret {
		c.in.Existing = &plan.ExistingSecret{Name: c.after.CredentialsSecretName(), Version: "another"}
		if c.before != nil && c.before.CredentialsType() == kind && c.before.CredentialsSecretName() == c.in.Existing.Name {
			c.in.Existing.Version = status.ReferencedSecretVersion
		}
	}
}

// outcome puts a plan into words.
func (c *comparison) outcome(r plan.Result) *AppDifference {
	d := &AppDifference{Namespace: c.after.Namespace, Name: c.after.Name, ClientID: c.after.Status.ClientID, Actions: []DiffAction{}}
	adopts := c.after.Annotations[v1alpha1.AnnotationAdoptClientID]
	registers, makes, gives := false, false, false
	for _, a := range r.Actions {
		action := DiffAction{Action: string(a.Kind), Changes: []DiffChange{}}
		switch a.Kind {
		case plan.Register, plan.RegisterAs, plan.Restore:
			registers = true
			if adopts != "" && d.ClientID == "" {
				action.Action = string(plan.Adopt) + " " + adopts
				c.note("what changes of the client %s is known when it is adopted", adopts)
				break
			}
			makes = makes || a.Kind == plan.Register && r.Target.HasSecret() && c.after.CredentialsType() == v1alpha1.CredentialsSecret
			for _, change := range plan.Diff(plan.Client{}, r.Target) {
				action.Changes = append(action.Changes, DiffChange{Field: change.Field, After: change.New})
			}
		case plan.Update, plan.AssignScopes:
			if registers {
				continue // it is what the registration says
			}
			for _, change := range a.Changes {
				action.Changes = append(action.Changes, DiffChange{Field: change.Field, Before: change.Old, After: change.New})
			}
		case plan.MakeSecret, plan.ResetSecret:
			makes = true
		case plan.GiveSecret:
			gives = true
		case plan.Publish:
			action.Action = "publish Secret " + c.in.Secret.Name
			if c.in.Secret.IsConfigMap {
				action.Action = "publish ConfigMap " + c.in.Secret.Name
			}
		case plan.DeleteClient, plan.DeleteSecret, plan.RemoveFormer, plan.RemoveFormerConfigMap, plan.GiveBack:
			action.Action += " " + a.ID
		case plan.Record, plan.Adopt, plan.RemoveSecret, plan.ReleaseSecret, plan.Remember, plan.LetGo:
		}
		d.Actions = append(d.Actions, action)
	}
	switch {
	case makes:
		d.Secret = "a new client secret is made"
	case gives:
		d.Secret = "the client is given the secret of Secret " + c.after.CredentialsSecretName()
	default:
		d.Secret = noSecret
	}
	if r.Replaced != "" {
		c.note("client %s is gone, and the app gets another id", r.Replaced)
	}
	if len(r.Drift) > 0 && c.before != nil {
		for _, drift := range r.Drift {
			c.note("somebody changed the client on the token server: %s", drift)
		}
	}
	if r.Hold != nil && r.Hold != r.Refusal {
		c.note("not carried out: %s: %s", r.Hold.Reason, r.Hold.Message)
	}
	return d
}

// verdict says what the access rules say. To who may not read them, the admission
// policy for them tells, or of a spec that stays as it is what the manager found.
func (c *comparison) verdict(ctx context.Context, d *AppDifference, r plan.Result) {
	d.Verdict = unknown
	if c.unknown != nil {
		d.Why = c.unknown.Error()
	}
	if isNotReadable(c.unknown) {
		d.Why += "; after the apply the condition PolicyAccepted tells"
	}
	switch {
	case c.policy != nil && r.Refusal != nil:
		d.Verdict, d.Why = refused, r.Refusal.Message
	case c.policy != nil:
		d.Verdict, d.Why = allowed, r.Verdict.Message()
	case c.before != nil && reflect.DeepEqual(c.before.Spec, c.after.Spec):
		said := meta.FindStatusCondition(c.before.Status.Conditions, v1alpha1.ConditionPolicyAccepted)
		if said == nil || said.ObservedGeneration != c.before.Generation {
			return
		}
		d.Verdict, d.Why = map[metav1.ConditionStatus]string{metav1.ConditionTrue: allowed, metav1.ConditionFalse: refused}[said.Status], said.Message
	case c.admitted && c.in.Server.Exists && refusedByRules(c.dryRun(ctx, impossible(c.after))):
		d.Verdict, d.Why = allowed, allowedByAdmission(c.after)
	}
}
