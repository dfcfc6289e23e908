package httpapi

// maxTerminateID is the most characters of a user id that server SDKs pass.
const maxTerminateID = 200

// terminate closes every connection signed in as a user: POST
// /apps/ID/users/USER_ID/terminate_connections. A user who has none is no
// error. The body says nothing.
func (a *API) terminate(r *request) *refusal {
	if names := r.auth.extraneous(); names != nil {
		return errExtraneous(names)
	}
	if r.name == "" || len(r.name) > maxTerminateID {
		return errUserID
	}
	if err := a.settings.Engine.TerminateUser(r.background(), r.tenant.app, r.name); err != nil {
		return a.failed(r, err)
	}
	r.answer = append(r.answer, "{}"...)
	return nil
}
