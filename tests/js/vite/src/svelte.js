// Shows the banner, the vehicle that the fragment names, and another one that stays.
import { mount } from 'svelte';
import Page from './Page.svelte';

mount(Page, { target: document.getElementById('root') });
