// A few clients on Colyseus' own SDK that decode everything: how many ships they see.
//
//   node sample.cjs PACKAGES PORT CLIENTS SECONDS
"use strict";

const [packages, port, clients, seconds] = process.argv.slice(2);
const { Client } = require("node:module").createRequire(packages + "/")("@colyseus/sdk");

async function main() {
  const visible = [];
  let patches = 0;
  for (let i = 0; i < Number(clients); i++) {
    const room = await new Client(`ws://127.0.0.1:${port}`).joinOrCreate("arena");
    room.onStateChange((state) => {
      patches++;
      visible.push(state.ships ? state.ships.size : 0);
    });
  }
  await new Promise((resolve) => setTimeout(resolve, Number(seconds) * 1000));
  const mean = visible.reduce((sum, n) => sum + n, 0) / Math.max(visible.length, 1);
  console.log(JSON.stringify({ visible_mean: Math.round(mean * 10) / 10, patches }));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
