// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	keyEncryption = "encryption-key"
	keyIDs        = "key-ids"

	encryptionKeySize = 32
)

// heldKeys are the data of KeysSecret, by which a Secret that is deleted under
// the manager comes back with the same key.
type heldKeys map[string][]byte

// ensureKeys makes the key that the token server encrypts its database with, and
// records its id in a ConfigMap that outlives the Secret:
//
//	Secret            ConfigMap   what follows
//	absent            absent      a new installation: both are made
//	a key             absent      the id is recorded
//	a recorded key    there       all is well
//	absent            there       the key of memory is put back; without it, told
//	another key       there       told
//
// No key takes the place of one that was recorded: the database could not be read
// again. To start anew a person deletes the ConfigMap.
func (r *Runnable) ensureKeys(ctx context.Context) error {
	// In this order: a record that is made after the Secret was read absent is seen.
	live, err := r.secret(ctx, KeysSecret)
	if err != nil {
		return err
	}
	record, err := r.configMap(ctx, KeysConfigMap)
	if err != nil {
		return err
	}
	switch present := presentIDs(live); {
	case record == nil && len(present) == 0:
		return r.firstKey(ctx, live)
	case record == nil:
		return r.recordKeys(ctx, live, nil, present)
	case len(present) == 0:
		return r.missingKey(ctx, live, record)
	case len(recordedIDs(record)) > 0 && !overlap(present, recordedIDs(record)):
		return problemf(eventKeyLost, record, "Secret %s in namespace %s holds encryption key %s, and the ConfigMap %s records that the token server "+
			"was given %s: a database made with that cannot be read with any other key. Put it back into the Secret's key %s from your backup. "+
			"If the database was made with %s, delete the ConfigMap and it is recorded instead",
			KeysSecret, r.Namespace, strings.Join(present, ", "), KeysConfigMap, recorded(record), keyEncryption, strings.Join(present, ", "))
	default:
		return r.recordKeys(ctx, live, record, present)
	}
}

// firstKey makes a key where none was ever recorded. A Secret that somebody else
// made, or that holds something else as the key, is left alone.
func (r *Runnable) firstKey(ctx context.Context, live *corev1.Secret) error {
	data := newKey()
	switch {
	case live == nil:
		live = r.newSecret(KeysSecret, corev1.SecretTypeOpaque, data)
		if err := r.create(ctx, live); err != nil {
			return err
		}
		return r.recordFirst(ctx, live)
	case len(live.Data[keyEncryption]) > 0:
		return problemf(eventNotOurs, live, "Secret %s in namespace %s: the key %s is not base64 of %d bytes, and the token server cannot start with it: "+
			"correct it (openssl rand -base64 32), or delete the Secret and the manager makes its own", KeysSecret, r.Namespace, keyEncryption, encryptionKeySize)
	case !ours(live, keyEncryption):
		return problemf(eventNotOurs, live, "Secret %s in namespace %s has no key %s, and somebody else made it: add the key (openssl rand -base64 32), "+
			"or delete the Secret and the manager makes its own", KeysSecret, r.Namespace, keyEncryption)
	}
	changed := withData(live, data)
	if err := r.update(ctx, live, changed, eventRestored); err != nil {
		return err
	}
	return r.recordKeys(ctx, changed, nil, presentIDs(changed))
}

// recordFirst records a key that was just made. Another manager may have made,
// recorded and lost one since the Secret was found absent: then this one must
// not stay in its place.
func (r *Runnable) recordFirst(ctx context.Context, made *corev1.Secret) error {
	err := r.recordKeys(ctx, made, nil, presentIDs(made))
	if !errors.Is(err, errOvertaken) {
		return err
	}
	record, readErr := r.configMap(ctx, KeysConfigMap)
	if readErr != nil {
		return readErr
	}
	if record == nil || overlap(presentIDs(made), recordedIDs(record)) {
		return err
	}
	uid, version := made.UID, made.ResourceVersion
	if deleteErr := r.Client.Delete(ctx, made, client.Preconditions{UID: &uid, ResourceVersion: &version}); deleteErr != nil {
		log.FromContext(ctx).Error(deleteErr, "taking back an encryption key that another manager was faster to make", "secret", KeysSecret)
	}
	return err
}

// missingKey puts back the key that this process has seen, or tells that it is
// lost. A Secret of somebody else is theirs to put back.
func (r *Runnable) missingKey(ctx context.Context, live *corev1.Secret, record *corev1.ConfigMap) error {
	// Another manager may have made both since the Secret was read.
	if now, err := r.secret(ctx, KeysSecret); err != nil || len(presentIDs(now)) > 0 {
		return cmp.Or(err, errOvertaken)
	}
	held := &corev1.Secret{Data: r.held}
	if !overlap(presentIDs(held), recordedIDs(record)) || live != nil && !ours(live, keyEncryption) {
		return r.lost(live, record)
	}
	if live == nil {
		if err := r.create(ctx, r.newSecret(KeysSecret, corev1.SecretTypeOpaque, maps.Clone(r.held))); err != nil {
			return err
		}
		const text = "Secret " + KeysSecret + " was deleted; the manager still knew its keys and put them back. " +
			"After a restart it could not have: keep a copy of the Secret"
		log.FromContext(ctx).Info(text)
		r.event(record, corev1.EventTypeWarning, eventRestored, text)
		return nil
	}
	return r.update(ctx, live, withData(live, r.held), eventRestored)
}

// withData is a Secret of ours with data in it, beside what else is there.
func withData(live *corev1.Secret, data map[string][]byte) *corev1.Secret {
	changed := live.DeepCopy()
	setLabels(changed)
	if changed.Data == nil {
		changed.Data = map[string][]byte{}
	}
	maps.Copy(changed.Data, data)
	return changed
}

func (r *Runnable) lost(live *corev1.Secret, record *corev1.ConfigMap) error {
	what := "Secret " + KeysSecret + " is gone from namespace " + r.Namespace
	if live != nil {
		what = "Secret " + KeysSecret + " in namespace " + r.Namespace + " holds no encryption key (key " + keyEncryption + ", base64 of 32 bytes) any more"
	}
	return problemf(eventKeyLost, record, "%s, and the token server's database can be read with encryption key %s alone (recorded in ConfigMap %s); "+
		"a server that runs stops working when it restarts. The manager makes no other key in its place: restore the Secret from your backup. "+
		"Without a backup, start anew: delete the token server's Deployment, delete its PersistentVolumeClaim, then the ConfigMap %s, and install again. "+
		"That loses all clients with their secrets, refresh tokens, sessions, consents and signing keys; ConnectedApps are registered again",
		what, recorded(record), KeysConfigMap, KeysConfigMap)
}

// recordKeys adds ids to the record, and keeps what the Secret holds in memory.
// Ids stay when their key goes, as at the end of a rotation: which key a database
// needs is not known here.
func (r *Runnable) recordKeys(ctx context.Context, secret *corev1.Secret, record *corev1.ConfigMap, present []string) error {
	if r.held = nil; ours(secret, keyEncryption) {
		r.held = maps.Clone(secret.Data)
		if err := r.update(ctx, secret, withData(secret, nil), eventRestored); err != nil {
			return err
		}
	}
	ids := union(recordedIDs(record), present)
	if record == nil {
		return r.create(ctx, r.newConfigMap(KeysConfigMap, map[string]string{keyIDs: strings.Join(ids, " ")}))
	}
	changed := record.DeepCopy()
	setLabels(changed)
	if changed.Data == nil {
		changed.Data = map[string]string{}
	}
	changed.Data[keyIDs] = strings.Join(ids, " ")
	return r.update(ctx, record, changed, eventRestored)
}

func newKey() map[string][]byte {
	key := make([]byte, encryptionKeySize)
	_, _ = rand.Read(key) // never fails
	return map[string][]byte{keyEncryption: []byte(base64.StdEncoding.EncodeToString(key))}
}

// presentIDs are the ids of all keys in a Secret, whatever their name: during a
// rotation there are two. An id is what the token server calls the key, the first
// 8 hexadecimal digits of its SHA-256; it tells nothing of the key.
func presentIDs(secret *corev1.Secret) []string {
	if secret == nil {
		return nil
	}
	var ids []string
	for _, name := range slices.Sorted(maps.Keys(secret.Data)) {
		key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(secret.Data[name])))
		if err != nil || len(key) != encryptionKeySize {
			continue
		}
		sum := sha256.Sum256(key)
		ids = union(ids, []string{hex.EncodeToString(sum[:4])})
	}
	return ids
}

func recordedIDs(record *corev1.ConfigMap) []string {
	if record == nil {
		return nil
	}
	return strings.Fields(record.Data[keyIDs])
}

// recorded is the record for a message.
func recorded(record *corev1.ConfigMap) string {
	if ids := recordedIDs(record); len(ids) > 0 {
		return strings.Join(ids, " or ")
	}
	return "of an id that was removed"
}

func union(ids, more []string) []string {
	all := slices.Clone(ids)
	for _, id := range more {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(id string) bool { return slices.Contains(b, id) })
}
