// Node's own http2 as firebase-admin uses it: http2.connect, a request per notification, its events; one session for each
// of the wanted connections. The first argument names a file with the job (see ../rust/src/lib.rs for its fields).

import { readFileSync } from 'node:fs';
import http2 from 'node:http2';

const job = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const tokens = readFileSync(job.tokens, 'utf8').trim().split('\n');
const body = Buffer.from(job.body);
const constant = {
  ':method': 'POST',
  ...Object.fromEntries(job.headers),
  authorization: job.authorization,
};

function connect() {
  return new Promise((resolve, reject) => {
    const session = http2.connect(`https://localhost:${job.port}`, {
      ca: readFileSync(job.ca),
      minVersion: 'TLSv1.3',
      ciphers: 'TLS_AES_128_GCM_SHA256',
      // Megabytes that streams and their headers may take; the default of 10 refuses streams.
      maxSessionMemory: 1000,
      settings: { enablePush: false },
    });
    session.once('error', reject);
    // Until the server's settings are known, Node takes 100 streams for the limit.
    session.once('remoteSettings', () => resolve(session));
  });
}

let answered = 0;
let failed = 0;

/** Sends requests `next` to `end` over a session, at most job.streams at once; resolves when all have ended. */
function send(session, next, end) {
  return new Promise((resolve) => {
    let open = 0;
    const one = () => {
      const number = next++;
      open++;
      const request = session.request({
        ...constant,
        ':path': `/3/device/${tokens[number % tokens.length]}`,
        'apns-id': `0fa0fa0f-0000-8000-8000-${number.toString(16).padStart(12, '0')}`,
      });
      let status = 0;
      let hasEnded = false;
      const ended = (isGood) => {
        if (hasEnded) return;
        hasEnded = true;
        if (isGood) answered++;
        else failed++;
        open--;
        if (next < end) one();
        else if (open === 0) resolve();
      };
      request.on('response', (headers) => {
        status = headers[':status'];
      });
      request.on('end', () => ended(status >= 200 && status < 300));
      request.on('error', (error) => {
        if (failed === 0) console.error(error);
        ended(false);
      });
      request.on('close', () => ended(false));
      request.resume();
      request.end(body);
    };
    if (next === end) resolve();
    while (next < end && open < job.streams) one();
  });
}

const sessions = await Promise.all(Array.from({ length: job.connections }, connect));
for (const session of sessions) session.on('error', (error) => console.error(error));

const start = process.hrtime.bigint();
const before = process.cpuUsage();
let first = 0;
await Promise.all(
  sessions.map((session, number) => {
    const share =
      Math.floor(job.requests / job.connections) + (number < job.requests % job.connections ? 1 : 0);
    first += share;
    return send(session, first - share, first);
  }),
);
const used = process.cpuUsage(before);
const elapsed_s = Number(process.hrtime.bigint() - start) / 1e9;
console.log(JSON.stringify({ answered, failed, elapsed_s, cpu_us: used.user + used.system }));
process.exit(0);
