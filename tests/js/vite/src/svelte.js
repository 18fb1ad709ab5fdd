// Shows the banner, the vehicle that the fragment names, and another one that stays.
import { mount } from 'svelte';
import Root from './Root.svelte';

mount(Root, { target: document.getElementById('root') });
