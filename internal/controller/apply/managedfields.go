// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// unknownManager is shown for somebody who left no name.
const unknownManager = "unknown"

// Contester is another field manager that wrote one of the keys of a Secret which
// FieldManager wrote before; empty: none.
func (s *Secrets) Contester(live *corev1.Secret, keys []string) string {
	var ours []string
	owners := map[string]string{}
	for _, entry := range live.ManagedFields {
		if entry.FieldsV1 == nil {
			continue
		}
		for _, key := range ownedNames(entry.FieldsV1.GetRawBytes()).data {
			if entry.Manager == s.FieldManager {
				ours = append(ours, key)
			} else {
				owners[key] = cmp.Or(entry.Manager, unknownManager)
			}
		}
	}
	for _, key := range keys {
		if who := owners[key]; who != "" && !slices.Contains(ours, key) {
			return who
		}
	}
	return ""
}

// LastWriter is the field manager other than ours that wrote an object last.
func LastWriter(live *corev1.Secret, ours string) string {
	who, at := unknownManager, int64(0)
	for _, entry := range live.ManagedFields {
		if entry.Manager != ours && entry.Time != nil && entry.Time.Unix() >= at {
			who, at = cmp.Or(entry.Manager, unknownManager), entry.Time.Unix()
		}
	}
	return who
}

// owned are the names a field manager set on an object.
type owned struct {
	labels, annotations, data []string
}

// ownedNames reads the FieldsV1 of a managed fields entry, in which a field is
// a member called f:<name>.
func ownedNames(fields []byte) owned {
	var tree struct {
		Metadata struct {
			Labels      map[string]json.RawMessage `json:"f:labels"`
			Annotations map[string]json.RawMessage `json:"f:annotations"`
		} `json:"f:metadata"`
		Data map[string]json.RawMessage `json:"f:data"`
	}
	if err := json.Unmarshal(fields, &tree); err != nil {
		return owned{}
	}
	return owned{labels: names(tree.Metadata.Labels), annotations: names(tree.Metadata.Annotations), data: names(tree.Data)}
}

func names(members map[string]json.RawMessage) []string {
	var list []string
	for member := range members {
		if name, ok := strings.CutPrefix(member, "f:"); ok {
			list = append(list, name)
		}
	}
	return list
}
