export const MEANING = {
    unreachable: 'the server does not answer',
    unavailable: 'the server is not ready',
    unreadable: 'something answers, but this page may not read it',
    wrong_path: 'there is no realtime server at this path',
    origin_refused: 'the server does not accept this page',
};
export const LASTING_CAUSES = ['wrong_path', 'origin_refused'];
const PROBE_TIMEOUT = 5_000;
export async function causeOf(status, address) {
    if (Number(status) > 0)
        return meant(Number(status));
    if (!address)
        return 'unreachable';
    for (const mode of ['cors', 'no-cors']) {
        try {
            const answer = await fetch(address, { mode, cache: 'no-store', signal: AbortSignal.timeout(PROBE_TIMEOUT) });
            return mode === 'cors' ? meant(answer.status) : 'unreadable';
        }
        catch {
        }
    }
    return 'unreachable';
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
