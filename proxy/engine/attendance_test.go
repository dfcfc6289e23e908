package engine

import (
	"testing"
	"testing/synctest"
)

func TestAttendances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, nodeSettings{})
		c, other := n.dial(), n.dial()
		c.subscribe("presence-room", `{"user_id":"7"}`)
		c.subscribe("private-x", "")
		other.subscribe("presence-room", `{"user_id":"8"}`)
		other.conn.Close(0, "")
		synctest.Wait()
		all := n.Attendances(testApp)
		if len(all) != 1 || all[0].Channel != "presence-room" || all[0].UserID != "7" || all[0].Socket != c.conn.SocketID() {
			t.Errorf("Attendances = %+v, want user 7 on presence-room alone", all)
		}
	})
}
