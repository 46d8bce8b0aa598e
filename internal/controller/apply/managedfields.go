// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"encoding/json"
	"strings"
)

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
