// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/ownership"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/registrar"
)

const (
	// recheck is when to look again at what no watch announces.
	recheck = time.Minute

	defaultDeletionTimeout = 10 * time.Minute
)

// observe collects what the plan depends on. hadFinalizer tells that an earlier
// pass may have registered the client. The error is of the API server: nothing
// is known then, and nothing is done.
func (r *Reconciler) observe(ctx context.Context, p *pass, hadFinalizer bool) error {
	p.in.Now, p.in.App = r.now(), p.app
	if err := r.observePolicy(ctx, p); err != nil {
		return err
	}
	if p.app.DeletionTimestamp.IsZero() || p.app.Spec.DeletionPolicy == v1alpha1.DeletionOrphan {
		if err := r.observeReferences(ctx, p); err != nil {
			return err
		}
	}
	if err := r.observeSecret(ctx, p); err != nil {
		return err
	}
	r.lookInto(p)
	if err := r.observeServer(ctx, p, hadFinalizer); err != nil {
		p.in.Live = nil
		failure := p.failure(err)
		e, ok := errors.AsType[*status.Error](failure)
		if !ok {
			return failure
		}
		p.unanswered, p.in.Server.Away = e, holdOf(v1alpha1.ConditionRegistered, e)
	}
	return r.settleSecret(ctx, p)
}

// observePolicy finds the TokenServer and what it allows here.
func (r *Reconciler) observePolicy(ctx context.Context, p *pass) error {
	name := p.app.TokenServerName()
	p.in.Server = plan.Server{Name: name, DeletionTimeout: defaultDeletionTimeout}
	server := &v1alpha1.TokenServer{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: name}, server)
	if apierrors.IsNotFound(err) {
		p.in.Server.Away = &plan.Hold{
			Condition: v1alpha1.ConditionRegistered, Reason: v1alpha1.ReasonTokenServerNotFound, After: recheck,
			Message: fmt.Sprintf("there is no TokenServer %s; the platform team makes it. "+
				"To use another, delete this object and apply it with another spec.tokenServerRef", name),
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading TokenServer %s: %w", name, err)
	}
	p.server = server
	p.in.Server.Exists, p.in.Server.WorkloadIssuer = true, server.Spec.WorkloadIssuer
	p.in.Server.Deleting = !server.DeletionTimestamp.IsZero()
	if server.Spec.DeletionTimeout != nil {
		p.in.Server.DeletionTimeout = server.Spec.DeletionTimeout.Duration
	}
	organization := server.Status.OrganizationID
	if connection, ok := r.Connections.Get(name); ok {
		p.connection = connection
		organization = connection.OrganizationID
		p.in.Server.ExternalID = connection.Discovery.Has(oauth.ExtensionExternalID)
		p.in.Server.Secrets = connection.Discovery.Has(oauth.ExtensionSecrets)
		p.in.Server.Restore = connection.Discovery.Has(oauth.ExtensionRestore)
		p.in.Server.NoWorkloads = !connection.Discovery.Has(oauth.ExtensionFederatedIdentities)
		p.in.Server.NoKeys = !slices.Contains(connection.Discovery.TokenEndpointAuthMethodsSupported, oauth.AuthMethodPrivateKeyJWT)
	} else {
		p.in.Server.Away = holdOf(v1alpha1.ConditionRegistered, errNoConnection(server))
	}
	if organization == "" {
		return nil // rules may speak of the organization, which only the server knows
	}
	labels, err := r.namespaceLabels(ctx, p.app.Namespace)
	if err != nil {
		return err
	}
	p.in.Policy = &plan.Policy{Rules: server.Spec.Access, Namespace: plan.Namespace{Labels: labels}, OrganizationID: organization}
	return nil
}

func (r *Reconciler) namespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := r.Client.Get(ctx, client.ObjectKey{Name: name}, namespace); err != nil {
		return nil, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	return namespace.Labels, nil
}

// observeSecret reads the Secret of ours.
func (r *Reconciler) observeSecret(ctx context.Context, p *pass) error {
	name, kind := p.app.PublishedSecretName(), p.published()
	p.in.Secret.Name, p.in.Secret.IsConfigMap = name, kind == apply.KindConfigMap
	secret, err := r.objectsOf(kind).Get(ctx, p.app, name)
	if errors.Is(err, apply.ErrNotOurs) {
		err = r.nameTaken(ctx, p)
	}
	if err != nil {
		return err
	}
	p.secret = secret
	before, err := r.formerObject(ctx, p, apply.KindSecret)
	if err != nil {
		return err
	}
	if before != nil {
		p.former, p.in.Secret.Former = before, before.Name
	}
	if before, err = r.formerObject(ctx, p, apply.KindConfigMap); before != nil {
		p.in.Secret.FormerConfigMap = before.Name
	}
	return err
}

// formerObject is what the app published before and does not any more, of one
// kind; nil: nothing of ours.
func (r *Reconciler) formerObject(ctx context.Context, p *pass, kind apply.Kind) (*corev1.Secret, error) {
	name := publishedName(p.app, kind)
	if name == "" || kind == p.published() && name == p.in.Secret.Name {
		return nil, nil
	}
	before, err := r.objectsOf(kind).Get(ctx, p.app, name)
	if err != nil && !errors.Is(err, apply.ErrNotOurs) {
		return nil, fmt.Errorf("looking for the former %s: %w", kind, err)
	}
	if before == nil && kind != p.published() {
		setPublished(p.app, kind, "") // somebody else removed it
	}
	return before, nil
}

// lookInto tells the plan what is in the Secret.
func (r *Reconciler) lookInto(p *pass) {
	p.in.Secret.Exists, p.in.Secret.SecretID, p.in.Secret.Foreign = p.secret != nil, "", ""
	if stored := p.stored(); stored != nil {
		p.in.Secret.SecretID = stored.id
	}
	if p.secret != nil {
		p.in.Secret.Foreign = r.contester(p)
	}
}

// settleSecret looks once more, now that the client is known. A client secret that the
// server does not know may be one that the cache does not have yet: making
// another ends others.
func (r *Reconciler) settleSecret(ctx context.Context, p *pass) error {
	if p.outdated() {
		secret, err := r.objectsOf(p.published()).GetLive(ctx, p.app, p.in.Secret.Name)
		if err != nil && !errors.Is(err, apply.ErrNotOurs) {
			return err
		}
		p.secret = secret
	}
	r.lookInto(p)
	if p.connection != nil && p.in.SecretHindrance == nil {
		p.in.Secret.Differs = func(target plan.Client) bool {
			return !r.objectsOf(p.published()).Matches(p.secret, wantedSecret(p, target))
		}
	}
	return nil
}

// outdated tells whether the Secret, as it was read, holds a client secret that
// the server does not accept for good.
func (p *pass) outdated() bool {
	if p.app.CredentialsType() != v1alpha1.CredentialsSecret || p.in.SecretHindrance != nil || p.secret == nil {
		return false
	}
	live := p.in.Live
	if live == nil || live.Client == nil || !live.Client.SecretsKnown {
		return p.stored() == nil
	}
	stored := p.stored()
	return stored == nil || !slices.ContainsFunc(live.Client.Secrets, func(s plan.ClientSecret) bool {
		return s.ID == stored.id && s.ExpiresAt.IsZero()
	})
}

// observeServer asks the token server, as little as will do.
func (r *Reconciler) observeServer(ctx context.Context, p *pass, hadFinalizer bool) (err error) {
	if p.connection == nil {
		return nil // Away says why
	}
	live := &plan.Live{}
	id := p.app.Status.ClientID
	doubted := r.registered.takeDoubt(client.ObjectKeyFromObject(p.app))
	defer func() {
		if doubted && err != nil {
			r.registered.giveBackDoubt(client.ObjectKeyFromObject(p.app))
		}
	}()
	settled := p.app.DeletionTimestamp.IsZero() && plan.Settled(p.in) && !r.asksForSecrets(p) && !doubted
	// A client that is not as the spec says is judged by what it is.
	drifted := plan.ReportsDrift(p.app)
	maxAge := time.Duration(0)
	if !p.app.DeletionTimestamp.IsZero() && p.app.Spec.DeletionPolicy != v1alpha1.DeletionOrphan {
		return r.findDeleted(ctx, p, live)
	}
	if settled && !drifted && !p.app.Suspended() && p.in.Now.Sub(r.registered.lastCompared(p.app, p.connection.Inventory)) < r.ResyncInterval*3/4 {
		// Something else woke the app; the pause before a resync is longer.
		p.revision = p.app.Status.Compared.Revision
		live.Client = &plan.LiveClient{ID: id, Revision: p.revision, Unread: true}
		p.in.Live = live
		return nil
	}
	if settled {
		maxAge = r.ResyncInterval / 2
	}
	if settled && !drifted {
		unchanged, err := p.connection.Unchanged(ctx, id, p.app.Status.Compared.Revision, maxAge)
		if err != nil {
			return err
		}
		if unchanged {
			p.listed = true
			p.revision = p.app.Status.Compared.Revision
			live.Client = &plan.LiveClient{ID: id, Revision: p.revision, Unread: true}
			p.in.Live = live
			return nil
		}
	}
	if id != "" {
		if err := r.readClient(ctx, p, live, id, maxAge); err != nil {
			return err
		}
	}
	if p.in.Server.ExternalID && live.Client == nil && (hadFinalizer || id != "") {
		if err := r.findMarked(ctx, p, live); err != nil {
			return err
		}
	}
	if live.Client == nil && (hadFinalizer || id != "") {
		if err := r.findRemembered(ctx, p, live); err != nil {
			return err
		}
	}
	if !p.in.Server.ExternalID {
		if err := r.findNamed(ctx, p, live); err != nil {
			return err
		}
	}
	if err := r.observeAdoption(ctx, p, live); err != nil {
		return err
	}
	if id != "" && live.Client == nil && !live.OwnedElsewhere {
		if err := r.judgeLoss(ctx, p, id); err != nil {
			return err
		}
	}
	p.in.Live = live
	return nil
}

// judgeLoss asks whether a client that is gone may be registered anew: not when
// so many are that the server may be another.
func (r *Reconciler) judgeLoss(ctx context.Context, p *pass, clientID string) error {
	if !p.app.DeletionTimestamp.IsZero() || p.app.Suspended() || p.app.Spec.DriftPolicy == v1alpha1.DriftReport {
		return nil
	}
	err := r.Losses.Judge(ctx, p.in.Server.Name, p.connection, clientID)
	if e, ok := errors.AsType[*status.Error](err); ok {
		p.in.Server.Lost = holdOf(v1alpha1.ConditionRegistered, e)
		return nil
	}
	return err
}

// findDeleted finds what there is to delete, without looking at what it is like. An
// id in a status is no proof that the client is ours.
func (r *Reconciler) findDeleted(ctx context.Context, p *pass, live *plan.Live) error {
	recorded, id := p.app.Status.ClientID, ""
	if p.in.Server.ExternalID {
		found, err := p.connection.AppByExternalID(ctx, externalID(r.ClusterID, p.app))
		if err != nil && !registrar.IsNotFound(err) {
			return err
		}
		if err == nil {
			id = found.ClientID
		}
	}
	if id == "" || id != recorded {
		if err := r.findOwned(ctx, p, live, &id); err != nil {
			return err
		}
	}
	if !p.in.Server.ExternalID && id == "" && recorded != "" {
		if err := r.recallExisting(ctx, p); err != nil {
			return err
		}
		isOurs, err := r.isOurs(ctx, p, recorded)
		if err != nil {
			return err
		}
		if isOurs {
			id = recorded
		}
	}
	if id != "" {
		live.Client = &plan.LiveClient{ID: id, Unread: true}
	}
	p.in.Live = live
	if p.in.Server.ExternalID {
		return nil
	}
	return r.findNamed(ctx, p, live)
}

// recallExisting reads what may prove whose a client is, and is not looked at for a
// deletion otherwise. What is wrong with it is nobody's concern any more.
func (r *Reconciler) recallExisting(ctx context.Context, p *pass) error {
	if !p.isExisting() {
		return nil
	}
	err := r.readExisting(ctx, p)
	if _, ok := errors.AsType[*status.Error](err); ok {
		return nil
	}
	return err
}

// findOwned adds what the manager remembers to be the app's to what there is to
// delete.
func (r *Reconciler) findOwned(ctx context.Context, p *pass, live *plan.Live, id *string) error {
	var err error
	if p.owned, err = r.ownedBy(ctx, p.app); err != nil {
		return err
	}
	for _, record := range p.owned {
		switch *id {
		case record.ClientID:
		case "":
			*id = record.ClientID
		default:
			live.Unclaimed = append(live.Unclaimed, record.ClientID)
		}
	}
	return nil
}

// readClient reads one client: it is the app's when it bears its mark, or when the
// manager remembers so.
func (r *Reconciler) readClient(ctx context.Context, p *pass, live *plan.Live, id string, maxAge time.Duration) error {
	app, err := p.connection.App(ctx, id, maxAge)
	if registrar.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	p.owner = ownership.Record{} // what is remembered of a client that was looked at before
	if app.ExternalID != externalID(r.ClusterID, p.app) {
		isOurs, err := r.isOurs(ctx, p, id)
		if err != nil {
			return err
		}
		if !isOurs {
			live.OwnedElsewhere = true
			return nil
		}
	}
	live.OwnedElsewhere = false
	live.Client = plan.LiveOf(&app.ConnectedApp, app.ContextScopes, app.SecretList)
	if p.owner.Owner != "" && !p.owner.Made {
		p.adopted(live.Client, p.owner.Kept)
	}
	p.revision = app.Revision
	return nil
}

// findMarked looks for the client that bears the app's mark.
func (r *Reconciler) findMarked(ctx context.Context, p *pass, live *plan.Live) error {
	found, err := p.connection.AppByExternalID(ctx, externalID(r.ClusterID, p.app))
	if registrar.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return r.readClient(ctx, p, live, found.ClientID, 0)
}

// findNamed looks for what was made under the app's temporary name, on a server
// where no client bears a mark, and did not come so far as to be remembered.
func (r *Reconciler) findNamed(ctx context.Context, p *pass, live *plan.Live) error {
	named, err := p.connection.Named(ctx, temporaryName(r.ClusterID, p.app), r.ResyncInterval/2)
	for _, id := range named {
		if live.Client != nil && live.Client.ID == id || slices.Contains(live.Unclaimed, id) {
			continue
		}
		live.Unclaimed = append(live.Unclaimed, id)
	}
	return err
}
