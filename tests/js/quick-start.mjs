// Runs the documented client, readme/client.ts, unchanged: what it takes for granted is here.
// What it prints becomes a JSON list a line.  End of input ends the process.

globalThis.authToken = process.env.AUTH_TOKEN;
globalThis.vehicleId = process.env.VEHICLE_ID;
console.log = (...values) => process.stdout.write(JSON.stringify(values) + '\n');
process.stdin.on('end', () => process.exit()).resume();

await import('./readme/client.ts');
