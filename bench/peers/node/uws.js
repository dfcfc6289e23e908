// The C++ reference of the side-by-side table: uWebSockets' own publish(),
// with as much of the Pusher protocol as the load generator needs and no
// signatures. Usage: node uws.js PORT
'use strict';
const uWS = require('uWebSockets.js');

const port = Number(process.argv[2] || 7201);
let sockets = 0;

function publish(app, event) {
  const text = '{"event":' + JSON.stringify(event.name) + ',"channel":' + JSON.stringify(event.channel) +
    ',"data":' + JSON.stringify(event.data) + '}';
  app.publish(event.channel, text);
}

function onBody(res, handle) {
  let body;
  res.onAborted(() => {});
  res.onData((chunk, last) => {
    const part = Buffer.from(chunk);
    body = body ? Buffer.concat([body, part]) : last ? part : Buffer.from(part);
    if (!last) return;
    handle(JSON.parse(body));
    res.writeHeader('Content-Type', 'application/json').end('{}');
  });
}

const app = uWS.App();
app.ws('/app/:key', {
  maxPayloadLength: 64 * 1024,
  maxBackpressure: 64 * 1024 * 1024,
  idleTimeout: 120,
  open(ws) {
    sockets++;
    ws.send('{"event":"pusher:connection_established","data":"{\\"socket_id\\":\\"1.' + sockets +
      '\\",\\"activity_timeout\\":120}"}');
  },
  message(ws, message) {
    const text = Buffer.from(message).toString();
    const frame = JSON.parse(text);
    if (frame.event === 'pusher:subscribe') {
      ws.subscribe(frame.data.channel);
      ws.send('{"event":"pusher_internal:subscription_succeeded","channel":' +
        JSON.stringify(frame.data.channel) + ',"data":"{}"}');
    } else if (frame.event.startsWith('client-')) {
      ws.publish(frame.channel, text); // to everybody but ws
    }
  },
});
app.post('/apps/:id/events', (res) => onBody(res, (event) => publish(app, event)));
app.post('/apps/:id/batch_events', (res) => onBody(res, (body) => body.batch.forEach((event) => publish(app, event))));
app.listen('127.0.0.1', port, (socket) => {
  if (!socket) {
    console.error('uws: cannot listen on ' + port);
    process.exit(1);
  }
});
