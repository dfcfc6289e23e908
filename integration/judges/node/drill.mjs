// Many pusher-js clients in one process, for drills: commands come in as lines
// of JSON, and whatever happens to a client goes out as one, with its time.
//
//   {"op":"open","id":"a","host":"127.0.0.1","port":6001,"user":"ann"}   a client that subscribes to the drill's channels
//   {"op":"say","id":"a","event":"client-x","data":"1"}                   a client event on private-drill
//   {"op":"close","id":"a"}                                               the client goes for good
//   {"op":"members"}                                                      every client's members of presence-drill
import { createHmac } from 'node:crypto'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const exported = createRequire(import.meta.url)('pusher-js')
const Pusher = exported.Pusher ?? exported
const key = process.env.DRILL_KEY
const secret = process.env.DRILL_SECRET

const say = (line) => process.stdout.write(JSON.stringify({ t: Date.now(), ...line }) + '\n')
const sign = (text) => key + ':' + createHmac('sha256', secret).update(text).digest('hex')

const clients = new Map()

function open({ id, host, port, user }) {
  const pusher = new Pusher(key, {
    wsHost: host, wsPort: port, httpHost: host, httpPort: port, cluster: '', forceTLS: false, enabledTransports: ['ws'], disableStats: true,
    channelAuthorization: {
      customHandler: ({ socketId, channelName }, callback) => {
        if (!channelName.startsWith('presence-')) return callback(null, { auth: sign(`${socketId}:${channelName}`) })
        const data = JSON.stringify({ user_id: user, user_info: { name: user } })
        callback(null, { auth: sign(`${socketId}:${channelName}:${data}`), channel_data: data })
      },
    },
  })
  pusher.connection.bind('state_change', ({ current }) => say({ id, what: 'state', name: current }))
  pusher.connection.bind('error', (e) => say({ id, what: 'error', code: e?.data?.code ?? e?.error?.data?.code ?? 0, name: e?.data?.message ?? '' }))
  for (const name of ['private-drill', 'presence-drill']) {
    const channel = pusher.subscribe(name)
    channel.bind('pusher:subscription_succeeded', () => say({ id, what: 'subscribed', name }))
    channel.bind('pusher:subscription_error', (e) => say({ id, what: 'refused', name, data: JSON.stringify(e) }))
    channel.bind_global((event, data) => {
      if (!event.startsWith('pusher')) say({ id, what: 'event', name: event, data: String(data) })
    })
  }
  clients.set(id, pusher)
}

function members() {
  for (const [id, pusher] of clients) {
    const ids = []
    pusher.channel('presence-drill').members.each((m) => ids.push(m.id))
    say({ id, what: 'members', ids: ids.sort(), name: pusher.connection.state })
  }
  say({ id: '', what: 'counted' })
}

const ops = {
  open,
  members,
  say: ({ id, event, data }) => clients.get(id).channel('private-drill').trigger(event, data),
  close: ({ id }) => {
    clients.get(id).disconnect()
    clients.delete(id)
  },
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const command = JSON.parse(line)
    ops[command.op](command)
  })
  .on('close', () => process.exit(0))
say({ id: '', what: 'ready' })
