// SPDX-License-Identifier: Apache-2.0

package tombstone

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/identity"
)

// Keys of a tombstone's ConfigMap.
const (
	keyTokenServer  = "tokenServer"
	keyIssuer       = "issuer"
	keyOrganization = "organizationID"
	keyInstallation = "installationID"
	keyExternalID   = "externalID"
	keyClientID     = "clientID"
	keyUniqueName   = "uniqueName"
	keyOwned        = "owned"
)

// namePrefix precedes the UID of the ConnectedApp.
const namePrefix = "tombstone-"

// indexTokenServer finds tombstones by their TokenServer.
const indexTokenServer = "tokenServer"

// Store keeps the tombstones. It is safe for use by several goroutines.
type Store struct {
	client     client.Client
	live       client.Reader
	namespace  string
	identities *identity.Records
	// cache holds the tombstones, whole, and nothing else: the manager's own has
	// of ConfigMaps the metadata only.
	cache cache.Cache
}

// NewStore makes a Store whose cache runs with the manager.
func NewStore(ctx context.Context, mgr ctrl.Manager, namespace string, identities *identity.Records) (*Store, error) {
	labelled, err := labels.NewRequirement(v1alpha1.LabelTombstone, selection.Exists, nil)
	if err != nil {
		return nil, fmt.Errorf("selecting tombstones: %w", err)
	}
	c, err := cache.New(mgr.GetConfig(), cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		ByObject: map[client.Object]cache.ByObject{&corev1.ConfigMap{}: {
			Namespaces: map[string]cache.Config{namespace: {}}, Label: labels.NewSelector().Add(*labelled), Transform: cache.TransformStripManagedFields(),
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("making the cache of tombstones: %w", err)
	}
	err = c.IndexField(ctx, &corev1.ConfigMap{}, indexTokenServer, func(o client.Object) []string {
		return []string{tokenServerOf(o)}
	})
	if err != nil {
		return nil, fmt.Errorf("indexing tombstones: %w", err)
	}
	if err := mgr.Add(runningCache{c}); err != nil {
		return nil, fmt.Errorf("adding the cache of tombstones: %w", err)
	}
	return &Store{client: mgr.GetClient(), live: mgr.GetAPIReader(), namespace: namespace, identities: identities, cache: c}, nil
}

// runningCache lets the manager start the cache before its controllers.
type runningCache struct{ cache.Cache }

func (c runningCache) GetCache() cache.Cache { return c.Cache }

// Remember makes a tombstone for a client of the ConnectedApp with this UID, so
// that the object can go before it. It is safe to repeat. A Server that is not
// set is the one that the TokenServer is known to stand for; when it never stood for
// one, nothing was registered there, and nothing is remembered of an app that no
// client was recorded for: any number of such apps can name TokenServers that will
// never be.
func (s *Store) Remember(ctx context.Context, app types.UID, c Client) error {
	if c.Server == (identity.Identity{}) {
		record, err := s.identities.Get(ctx, c.TokenServer)
		if err != nil {
			return err
		}
		if c.Server = record.Identity; c.Server == (identity.Identity{}) && c.ClientID == "" {
			return nil
		}
	}
	name := namePrefix + string(app)
	taken, err := s.create(ctx, name, c)
	if err == nil && taken {
		// The object has more than one client, which a crash can leave behind.
		sum := sha256.Sum256([]byte(c.ClientID))
		_, err = s.create(ctx, name+"-"+hex.EncodeToString(sum[:8]), c)
	}
	if err != nil {
		return fmt.Errorf("remembering client %s: %w", c.ClientID, err)
	}
	return nil
}

// create reports taken when the name is another client's.
func (s *Store) create(ctx context.Context, name string, c Client) (taken bool, err error) {
	object := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name, Labels: map[string]string{v1alpha1.LabelTombstone: "true"}},
		Data:       encode(c),
	}
	err = s.client.Create(ctx, object)
	if !apierrors.IsAlreadyExists(err) {
		return false, err
	}
	existing := &corev1.ConfigMap{}
	if err := s.live.Get(ctx, client.ObjectKeyFromObject(object), existing); err != nil {
		return false, err
	}
	return existing.Data[keyClientID] != c.ClientID, nil
}

// Remembers tells whether there is a tombstone for a client of the ConnectedApp
// with this UID. It asks the API server.
func (s *Store) Remembers(ctx context.Context, app types.UID) (bool, error) {
	err := s.live.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: namePrefix + string(app)}, &corev1.ConfigMap{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for a tombstone: %w", err)
	}
	return true, nil
}

// ExternalIDs are those of the clients that are remembered.
func (s *Store) ExternalIDs(ctx context.Context) (map[string]bool, error) {
	list, err := s.list(ctx)
	ids := make(map[string]bool, len(list))
	for i := range list {
		ids[list[i].Data[keyExternalID]] = true
	}
	return ids, err
}

// Waiting is a client that the manager deletes as soon as it can.
type Waiting struct {
	Client
	// Since is when its object went.
	Since time.Time
}

// List returns the clients that are remembered in the manager's namespace, to
// whoever may read it.
func List(ctx context.Context, reader client.Reader, namespace string) ([]Waiting, error) {
	var list corev1.ConfigMapList
	if err := reader.List(ctx, &list, client.InNamespace(namespace), client.HasLabels{v1alpha1.LabelTombstone}); err != nil {
		return nil, fmt.Errorf("listing tombstones: %w", err)
	}
	var waiting []Waiting
	for i := range list.Items {
		waiting = append(waiting, Waiting{decode(list.Items[i].Data), list.Items[i].CreationTimestamp.Time})
	}
	return waiting, nil
}

// Count returns how many clients of a TokenServer are remembered.
func (s *Store) Count(ctx context.Context, tokenServer string) (int, error) {
	list, err := s.list(ctx, client.MatchingFields{indexTokenServer: tokenServer})
	return len(list), err
}

// counts returns how many clients are remembered, by TokenServer.
func (s *Store) counts(ctx context.Context) (map[string]int, error) {
	list, err := s.list(ctx)
	counts := map[string]int{}
	for i := range list {
		counts[tokenServerOf(&list[i])]++
	}
	return counts, err
}

func (s *Store) list(ctx context.Context, options ...client.ListOption) ([]corev1.ConfigMap, error) {
	var list corev1.ConfigMapList
	if err := s.cache.List(ctx, &list, append(options, client.InNamespace(s.namespace), client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("listing tombstones: %w", err)
	}
	return list.Items, nil
}

func tokenServerOf(o client.Object) string {
	if tombstone, ok := o.(*corev1.ConfigMap); ok {
		return tombstone.Data[keyTokenServer]
	}
	return ""
}

func encode(c Client) map[string]string {
	data := map[string]string{}
	for key, value := range map[string]string{
		keyTokenServer: c.TokenServer, keyIssuer: c.Server.Issuer, keyOrganization: c.Server.OrganizationID, keyInstallation: c.Server.InstallationID,
		keyExternalID: c.ExternalID, keyClientID: c.ClientID, keyUniqueName: c.UniqueName,
	} {
		if value != "" {
			data[key] = value
		}
	}
	if c.Owned {
		data[keyOwned] = "true"
	}
	return data
}

func decode(data map[string]string) Client {
	return Client{
		TokenServer: data[keyTokenServer],
		Server:      identity.Identity{Issuer: data[keyIssuer], OrganizationID: data[keyOrganization], InstallationID: data[keyInstallation]},
		ExternalID:  data[keyExternalID], ClientID: data[keyClientID], UniqueName: data[keyUniqueName],
		Owned: data[keyOwned] == "true",
	}
}
