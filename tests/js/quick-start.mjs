// Runs the documented client, readme/client.ts, unchanged, and defines the globals that it expects.
// Each call of console.log prints its arguments as a JSON list.  The process ends at the end of input.

globalThis.authToken = process.env.AUTH_TOKEN;
globalThis.vehicleId = process.env.VEHICLE_ID;
console.log = (...values) => process.stdout.write(JSON.stringify(values) + '\n');
process.stdin.on('end', () => process.exit()).resume();

await import('./readme/client.ts');
