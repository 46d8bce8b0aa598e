// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/registrar"
)

// DefaultSystemNamespace is where the manager is installed unless somebody chose
// another namespace.
const DefaultSystemNamespace = "connectedapps-system"

// system is the manager's namespace.
func (p *Plugin) system() string { return cmp.Or(p.SystemNamespace, DefaultSystemNamespace) }

// notReadable is something that the user may not read. Most commands say so where
// it would have been, and go on.
type notReadable struct{ what string }

func (e *notReadable) Error() string { return "you may not read " + e.what }

func isNotReadable(err error) bool {
	_, ok := errors.AsType[*notReadable](err)
	return ok
}

// read reads an object of any namespace: notReadable when the user lacks the
// right, notFound when it is not there. what names it in both.
func (p *Plugin) read(ctx context.Context, namespace, name, what string, object client.Object) error {
	err := p.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object)
	switch {
	case apierrors.IsForbidden(err):
		return &notReadable{what}
	case apierrors.IsNotFound(err):
		return &notFound{"there is no " + what}
	}
	return worded(err, what)
}

// tokenServer reads a TokenServer, which only the platform team may as a rule.
func (p *Plugin) tokenServer(ctx context.Context, name string) (*v1alpha1.TokenServer, error) {
	server := &v1alpha1.TokenServer{}
	err := p.read(ctx, "", name, "TokenServer "+name, server)
	if err != nil {
		return nil, err
	}
	return server, nil
}

// policy is what a TokenServer allows in a namespace, as the manager reads it.
func (p *Plugin) policy(ctx context.Context, server *v1alpha1.TokenServer, namespace string) (*plan.Policy, error) {
	organization := cmp.Or(server.Status.OrganizationID, server.Spec.OrganizationID)
	if organization == "" {
		return nil, fmt.Errorf("TokenServer %s does not say yet which organization it is for", server.Name)
	}
	object := &corev1.Namespace{}
	if err := p.read(ctx, "", namespace, "namespace "+namespace, object); err != nil {
		return nil, err
	}
	return &plan.Policy{Rules: server.Spec.Access, Namespace: plan.Namespace{Labels: object.Labels}, OrganizationID: organization}, nil
}

// registrar is the management API of a TokenServer, logged in as the manager does,
// but at the public address, which is the one that people reach.
func (p *Plugin) registrar(ctx context.Context, server *v1alpha1.TokenServer) (*registrar.Client, error) {
	spec := server.Spec.Credentials
	if spec.SecretRef == nil {
		return nil, fmt.Errorf("TokenServer %s has spec.credentials.type %s: nobody but the manager can log in as it does", server.Name, spec.Type)
	}
	config := registrar.Config{URL: server.Spec.URL, OrganizationID: server.Spec.OrganizationID, UserAgent: userAgent}
	secret := &corev1.Secret{}
	what := fmt.Sprintf("Secret %s in namespace %s, with the credentials of TokenServer %s", spec.SecretRef.Name, p.system(), server.Name)
	if err := p.read(ctx, p.system(), spec.SecretRef.Name, what, secret); err != nil {
		return nil, err
	}
	config.ClientID, config.ClientSecret = string(secret.Data[plan.KeyClientID]), string(secret.Data[plan.KeyClientSecret])
	if config.ClientID == "" || config.ClientSecret == "" {
		return nil, fmt.Errorf("%s lacks the key %s or %s", what, plan.KeyClientID, plan.KeyClientSecret)
	}
	var err error
	if config.CABundle, err = p.caBundle(ctx, server); err != nil {
		return nil, err
	}
	return registrar.New(config)
}

// caBundle are the certificates to trust in place of the system's; nil: those.
func (p *Plugin) caBundle(ctx context.Context, server *v1alpha1.TokenServer) ([]byte, error) {
	if server.Spec.CABundle == nil {
		return nil, nil
	}
	reference := server.Spec.CABundle.ConfigMapRef
	object := &corev1.ConfigMap{}
	what := fmt.Sprintf("ConfigMap %s in namespace %s, with the certificates of TokenServer %s", reference.Name, p.system(), server.Name)
	if err := p.read(ctx, p.system(), reference.Name, what, object); err != nil {
		return nil, err
	}
	bundle := []byte(object.Data[reference.Key])
	if !x509.NewCertPool().AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("%s has no PEM certificate under its key %s", what, reference.Key)
	}
	return bundle, nil
}
