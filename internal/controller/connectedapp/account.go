// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/internal/controller/metrics"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/plan"
)

// labels are the actions as metrics call them.
var labels = map[plan.Kind]string{
	plan.Register:              "register",
	plan.Restore:               "restore",
	plan.RegisterAs:            "register_as",
	plan.Record:                "record",
	plan.Adopt:                 "adopt",
	plan.GiveBack:              "give_back",
	plan.DeleteClient:          "delete_client",
	plan.Update:                "update",
	plan.AssignScopes:          "assign_scopes",
	plan.DeleteSecret:          "delete_secret",
	plan.MakeSecret:            "make_secret",
	plan.ResetSecret:           "reset_secret",
	plan.GiveSecret:            "give_secret",
	plan.Publish:               "publish",
	plan.RemoveFormer:          "remove_former_secret",
	plan.RemoveFormerConfigMap: "remove_former_configmap",
	plan.RemoveSecret:          "remove_secret",
	plan.ReleaseSecret:         "release_secret",
	plan.Remember:              "remember",
	plan.LetGo:                 "let_go",
}

// account counts an action and writes the one log line about it. What a race
// undid is done once more, and told then.
func (p *pass) account(ctx context.Context, action plan.Action, err error) {
	if status.IsRace(err) {
		return
	}
	counted := p.in.Server.Name
	if !p.in.Server.Exists {
		counted = "" // the name is whatever somebody wrote, and a series would stay for each
	}
	metrics.Action(counted, labels[action.Kind], err)
	values := []any{"tokenserver", p.in.Server.Name, "client", p.clientID()}
	if action.ID != "" && action.ID != p.clientID() {
		values = append(values, "of", action.ID)
	}
	if len(action.Changes) > 0 {
		values = append(values, "changes", describe(action.Changes))
	}
	if err != nil {
		values = append(values, "failed", err.Error())
	}
	log.FromContext(ctx).Info(string(action.Kind), values...)
}
