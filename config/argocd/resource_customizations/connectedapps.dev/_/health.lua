-- SPDX-License-Identifier: Apache-2.0
-- Health of TokenServers, ConnectedApps and AccessTokens: by what all kinds have in
-- common, the conditions Ready and Stalled and status.observedGeneration.
local status = obj.status or {}
if obj.metadata.deletionTimestamp ~= nil then
  return {status = "Progressing", message = "being deleted"}
end
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the manager has not seen this generation yet"}
end
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local ready = conditions.Ready
if conditions.Stalled ~= nil and conditions.Stalled.status == "True" then
  return {status = "Degraded", message = conditions.Stalled.message}
end
if ready == nil then
  return {status = "Suspended", message = "spec.suspend is true"}
end
if ready.status ~= "True" then
  return {status = "Progressing", message = ready.message}
end
if ready.reason == "Suspended" then
  return {status = "Suspended", message = ready.message}
end
return {status = "Healthy", message = ready.message}
