// SPDX-License-Identifier: Apache-2.0

// Package ownership remembers whose a client is where no mark on its token server
// tells: one that a ConnectedApp took over, and every one on a server without the
// extension external_id. A status can be edited, so that it is no proof. The memory
// is in ConfigMaps of the manager's namespace, in which nobody else may write: one
// for a client, named after it, so that of two objects that want the same client
// the API server lets one have it. It goes with the object's own end.
package ownership

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
)

// Keys of the ConfigMap.
const (
	keyTokenServer = "tokenServer"
	keyIssuer      = "issuer"
	keyClientID    = "clientID"
	keyOwner       = "owner"
	keyMade        = "made"
	keyKept        = "keptSecrets"
)

const namePrefix = "client-"

// ErrTaken is the error about a client that is another object's.
var ErrTaken = errors.New("another object has it")

// Record is whose a client is. Its zero value is: nothing is remembered.
type Record struct {
	// TokenServer is the name of the object.
	TokenServer string
	// Issuer is the token server, and ClientID the client on it.
	Issuer, ClientID string
	// Owner is the external id of the ConnectedApp whose it is.
	Owner string
	// Made: it was made for that object. Otherwise it was taken over.
	Made bool
	// Kept are the ids of the client secrets that it had before it was taken over.
	Kept []string

	name, version string // of the ConfigMap; empty: there is none
}

// Records keeps the memory. It is safe for use by several goroutines.
type Records struct {
	// Client writes.
	Client client.Client
	// Live reads from the API server: what is remembered decides whose a client is.
	Live client.Reader
	// Namespace is the manager's.
	Namespace string
}

// Of returns whose a client of a TokenServer is: also under another issuer, which
// a server that was moved had before.
func (r *Records) Of(ctx context.Context, tokenServer, issuer, clientID string) (Record, error) {
	object := &corev1.ConfigMap{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: nameOf(issuer, clientID)}, object)
	if apierrors.IsNotFound(err) {
		records, err := r.list(ctx, client.MatchingLabels{v1alpha1.LabelClient: labelOf(clientID)})
		for _, record := range records {
			if record.TokenServer == tokenServer && record.ClientID == clientID {
				return record, nil
			}
		}
		return Record{}, err
	}
	if err != nil {
		return Record{}, fmt.Errorf("reading whose client %s is: %w", clientID, err)
	}
	return decode(object), nil
}

// By returns the clients of the ConnectedApp with this UID: one or none, and more
// after a crash.
func (r *Records) By(ctx context.Context, app types.UID) ([]Record, error) {
	return r.list(ctx, client.MatchingLabels{v1alpha1.LabelClientOwner: string(app)})
}

// On returns the clients on a TokenServer.
func (r *Records) On(ctx context.Context, tokenServer string) ([]Record, error) {
	all, err := r.list(ctx, client.HasLabels{v1alpha1.LabelClientOwner})
	var records []Record
	for _, record := range all {
		if record.TokenServer == tokenServer {
			records = append(records, record)
		}
	}
	return records, err
}

func (r *Records) list(ctx context.Context, option client.ListOption) ([]Record, error) {
	var list corev1.ConfigMapList
	if err := r.Live.List(ctx, &list, client.InNamespace(r.Namespace), option); err != nil {
		return nil, fmt.Errorf("listing whose clients are whose: %w", err)
	}
	records := make([]Record, len(list.Items))
	for i := range list.Items {
		records[i] = decode(&list.Items[i])
	}
	return records, nil
}

// Claim remembers whose a client is in the place of what Of returned, and is safe
// to repeat. The error is ErrTaken when somebody else was faster.
func (r *Records) Claim(ctx context.Context, app types.UID, before, record Record) error {
	name, version := nameOf(record.Issuer, record.ClientID), before.version
	if before.name != name {
		version = "" // there is none of this issuer yet
	} else if before.Owner == record.Owner {
		return nil
	}
	object := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: r.Namespace, Name: name, ResourceVersion: version,
			Labels: map[string]string{v1alpha1.LabelClientOwner: string(app), v1alpha1.LabelClient: labelOf(record.ClientID)},
		},
		Data: map[string]string{
			keyTokenServer: record.TokenServer, keyIssuer: record.Issuer, keyClientID: record.ClientID, keyOwner: record.Owner,
			keyMade: strconv.FormatBool(record.Made), keyKept: strings.Join(record.Kept, " "),
		},
	}
	write := func() error { return r.Client.Update(ctx, object) }
	if version == "" {
		write = func() error { return r.Client.Create(ctx, object) }
	}
	err := write()
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return ErrTaken
	}
	if err != nil {
		return fmt.Errorf("remembering whose client %s is: %w", record.ClientID, err)
	}
	if before.name != name {
		return r.Forget(ctx, before)
	}
	return nil
}

// Forget ends the memory of a client. One that is not remembered, or that somebody
// else has taken over since it was read, is no error.
func (r *Records) Forget(ctx context.Context, record Record) error {
	if record.version == "" {
		return nil
	}
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: record.name}}
	err := r.Client.Delete(ctx, object, client.Preconditions{ResourceVersion: &record.version})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("forgetting whose client %s is: %w", record.ClientID, err)
	}
	return nil
}

// labelOf is a client id as the value of a label.
func labelOf(clientID string) string {
	sum := sha256.Sum256([]byte(clientID))
	return hex.EncodeToString(sum[:16])
}

// nameOf is where a client is remembered: client ids can be anything.
func nameOf(issuer, clientID string) string {
	sum := sha256.Sum256([]byte(issuer + "\n" + clientID))
	return namePrefix + hex.EncodeToString(sum[:])
}

func decode(object *corev1.ConfigMap) Record {
	return Record{
		TokenServer: object.Data[keyTokenServer], Issuer: object.Data[keyIssuer], ClientID: object.Data[keyClientID], Owner: object.Data[keyOwner],
		Made: object.Data[keyMade] == "true", Kept: strings.Fields(object.Data[keyKept]), name: object.Name, version: object.ResourceVersion,
	}
}
