// SPDX-License-Identifier: Apache-2.0

package object

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
)

// indexSecret finds ConnectedApps by the Secrets with their credentials. Those
// that are called after their app, as nearly all are, are not in it: each would
// take as much memory as all that is found.
const indexSecret = "secret"

// defaultSecret is how a Secret is called after its app.
const defaultSecret = "-credentials"

// IndexAppsBySecret makes the index that AppsBySecret uses.
func IndexAppsBySecret(ctx context.Context, indexer client.FieldIndexer) error {
	err := indexer.IndexField(ctx, &v1alpha1.ConnectedApp{}, indexSecret, func(o client.Object) []string {
		app, ok := o.(*v1alpha1.ConnectedApp)
		if !ok {
			return nil
		}
		names := secretsOf(app)
		return slices.DeleteFunc(names, func(name string) bool { return name == app.Name+defaultSecret })
	})
	if err != nil {
		return fmt.Errorf("indexing ConnectedApps by Secret: %w", err)
	}
	return nil
}

func secretsOf(app *v1alpha1.ConnectedApp) []string {
	return slices.Compact([]string{app.CredentialsSecretName(), app.PublishedSecretName()})
}

// AppsBySecret returns the names of the ConnectedApps that read or write a Secret,
// as the cache has them.
func AppsBySecret(ctx context.Context, c client.Reader, secret client.ObjectKey) ([]client.ObjectKey, error) {
	var list v1alpha1.ConnectedAppList
	err := c.List(ctx, &list, client.InNamespace(secret.Namespace), client.MatchingFields{indexSecret: secret.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing ConnectedApps: %w", err)
	}
	var keys []client.ObjectKey
	for i := range list.Items {
		keys = append(keys, client.ObjectKeyFromObject(&list.Items[i]))
	}
	name, ok := strings.CutSuffix(secret.Name, defaultSecret)
	if !ok || name == "" {
		return keys, nil
	}
	app := &v1alpha1.ConnectedApp{}
	key := client.ObjectKey{Namespace: secret.Namespace, Name: name}
	err = c.Get(ctx, key, app)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("reading ConnectedApp %s: %w", key, err)
	}
	if err == nil && slices.Contains(secretsOf(app), secret.Name) {
		keys = append(keys, key)
	}
	return keys, nil
}
