export const MEANING = {
    unreachable: 'the server does not answer',
    unavailable: 'the server is not ready',
    unreadable: 'something answers, but the browser hides the answer from this page',
    wrong_path: 'there is no realtime server at this path',
    origin_refused: 'the server does not accept this page',
};
export const LASTING_CAUSES = new Set(['wrong_path', 'origin_refused']);
const PROBE_TIMEOUT = 5_000;
export async function causeOf(status, address) {
    if (typeof status === 'number' && status > 0)
        return meant(status);
    if (address === undefined)
        return 'unreachable';
    try {
        return meant((await request(address, 'cors')).status);
    }
    catch {
    }
    return request(address, 'no-cors').then(() => 'unreadable', () => 'unreachable');
}
async function request(address, mode) {
    return fetch(address, { mode, cache: 'no-store', signal: AbortSignal.timeout(PROBE_TIMEOUT) });
}
function meant(status) {
    if (status === 403)
        return 'origin_refused';
    if (status < 400 || status === 404 || status === 405 || status === 410)
        return 'wrong_path';
    if (status >= 500 || status === 408 || status === 429)
        return 'unavailable';
    return 'unreachable';
}
