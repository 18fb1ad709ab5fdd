export function follow(tracker, type, id, changed) {
    let now = {
        location: tracker.last(type, id)?.location ?? null,
        connected: tracker.status === 'connected',
        error: null,
    };
    let ended = false;
    const update = (change) => {
        if (!ended)
            changed((now = { ...now, ...change }));
    };
    update({});
    const removals = [
        tracker.onLocation(({ location }) => update({ location, error: null }), type, id),
        tracker.onStatus((status) => {
            const lasting = now.error?.entity ? now.error : null;
            update({ connected: status === 'connected', error: status === 'refused' ? tracker.problem : lasting });
        }),
        tracker.onError((error) => {
            if (error.entity?.type === type && error.entity.id === id)
                update({ error });
        }),
    ];
    tracker.track(type, id).catch((error) => update({ error }));
    return () => {
        if (ended)
            return;
        ended = true;
        for (const remove of removals)
            remove();
        tracker.untrack(type, id);
    };
}
