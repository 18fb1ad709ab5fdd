// Stands for a form: somebody is signed in, until the test says something else.
import { useEffect } from 'react';

export function SignIn(actions: { onSignedIn: () => void; onSignedOut: () => void }) {
  useEffect(() => {
    Object.assign(window, { signIn: actions.onSignedIn, signOut: actions.onSignedOut });
    actions.onSignedIn();
  }, []);
  return null;
}
