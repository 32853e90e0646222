// SPDX-License-Identifier: Apache-2.0
//
// The quality lab over REST: which cheaper setting of a model is as good as its best.
//
//   const lab = new QualityTester({ baseUrl: 'http://127.0.0.1:8190' })
//   const result = await lab.quickQualityTest('sdxl-base')
//   console.log(result.answer.words)
import { ResourceManager } from './resource-manager'
import type {
  QualityBallot, QualityBallotList, QualityBallots, QualityMark, QualityPair, QualityPairs, QualityPlan, QualityProposal, QualityRequest, QualitySession, QualitySessionRow,
  QualityVotes, ReportLanguage,
} from './types'

const kPollMs = 2_000 // chosen: a picture takes ten seconds and more

export function isOver(session: QualitySession): boolean {
  return session.state === 'done' || session.state === 'cancelled' || session.state === 'failed'
}

const addressOf = (sessionId: string): string => `/api/quality-test/${encodeURIComponent(sessionId)}`
const sideOf = (side?: number): string => (side === undefined ? '' : `?side=${side}`)

export const reportLanguages: readonly ReportLanguage[] = ['en', 'zh']
export type QualityWishes = Omit<QualityRequest, 'model' | 'testType'>

export class QualityTester extends ResourceManager {
  /** A handful of settings; resolves when the test is over or paused. `onProgress` sees each state on the way. */
  async quickQualityTest(
    model: string, wishes: QualityWishes = {}, onProgress?: (session: QualitySession) => void, signal?: AbortSignal,
  ): Promise<QualitySession> {
    let session = await this.startQualityTest(model, 'quick', wishes, signal)
    for (;;) {
      onProgress?.(session)
      if (isOver(session) || session.state === 'paused') return session
      await pause(kPollMs, signal)
      session = await this.getTestStatus(session.sessionId, signal)
    }
  }
  /** Begins a test and answers at once; its pictures are drawn while no job runs. */
  startQualityTest(
    model: string, testType: QualityRequest['testType'] = 'full', wishes: QualityWishes = {}, signal?: AbortSignal,
  ): Promise<QualitySession> {
    return this.post('/api/quality-test', { ...wishes, model, testType }, signal)
  }
  /** What such a test would draw and take at most: nothing is begun. */
  planQualityTest(
    model: string, testType: QualityRequest['testType'] = 'full', wishes: QualityWishes = {}, signal?: AbortSignal,
  ): Promise<QualityPlan> {
    return this.post('/api/quality-test/plan', { ...wishes, model, testType }, signal)
  }
  getTestStatus(sessionId: string, signal?: AbortSignal): Promise<QualitySession> {
    return this.get(`/api/quality-test?sessionId=${encodeURIComponent(sessionId)}`, signal)
  }
  async sessions(signal?: AbortSignal): Promise<QualitySessionRow[]> {
    return (await this.get<{ sessions: QualitySessionRow[] }>('/api/quality-sessions', signal)).sessions
  }
  /** Tests that the lab proposes for models it never saw; cancelTest declines one. */
  async proposals(signal?: AbortSignal): Promise<QualityProposal[]> {
    return (await this.get<{ proposals: QualityProposal[] }>('/api/quality-proposals', signal)).proposals
  }
  /** A proposed test is drawn while the card is idle. */
  acceptTest(sessionId: string, signal?: AbortSignal): Promise<QualitySession> { return this.change(sessionId, 'accept', signal) }
  pauseTest(sessionId: string, signal?: AbortSignal): Promise<QualitySession> { return this.change(sessionId, 'pause', signal) }
  resumeTest(sessionId: string, signal?: AbortSignal): Promise<QualitySession> { return this.change(sessionId, 'resume', signal) }
  cancelTest(sessionId: string, signal?: AbortSignal): Promise<QualitySession> { return this.change(sessionId, 'cancel', signal) }

  /** Two pictures of one prompt and seed, those whose comparison teaches most. */
  nextPair(sessionId: string, signal?: AbortSignal): Promise<QualityPair> {
    return this.get(`${addressOf(sessionId)}/pair`, signal)
  }
  vote(sessionId: string, ballot: QualityBallot, signal?: AbortSignal): Promise<QualityVotes> {
    return this.post(`${addressOf(sessionId)}/votes`, ballot, signal)
  }
  votes(sessionId: string, signal?: AbortSignal): Promise<QualityVotes> {
    return this.get(`${addressOf(sessionId)}/votes`, signal)
  }

  /** As many pairs to be judged in one sitting; with `preferred` filled in they are ballots for castBallots. */
  pairs(sessionId: string, count?: number, signal?: AbortSignal): Promise<QualityPairs> {
    return this.get(`${addressOf(sessionId)}/pairs${count === undefined ? '' : `?count=${count}`}`, signal)
  }
  /** All votes, oldest first. */
  ballots(sessionId: string, signal?: AbortSignal): Promise<QualityBallots> { return this.get(`${addressOf(sessionId)}/ballots`, signal) }
  /** Votes that were cast elsewhere, all or none; one with a voteId that is known counts once. */
  castBallots(sessionId: string, ballots: QualityBallotList['ballots'], signal?: AbortSignal): Promise<QualityVotes> {
    return this.post(`${addressOf(sessionId)}/ballots`, { ballots }, signal)
  }
  /** What a picture lost for, and where that is to be seen. */
  mark(sessionId: string, candidate: number, block: number, signal?: AbortSignal): Promise<QualityMark> {
    return this.get(`${addressOf(sessionId)}/marks/${candidate}/${block}`, signal)
  }
  /** Where a browser fetches a picture; with `side` a small JPEG whose longer side has at most so many pixels. */
  pictureUrl(sessionId: string, candidate: number, block: number, side?: number): string {
    return this.url(`${addressOf(sessionId)}/images/${candidate}/${block}${sideOf(side)}`)
  }
  /** ... and what differs from the reference, where comparing pixels says something (`mapUrl` of the picture). */
  mapUrl(sessionId: string, candidate: number, block: number, side?: number): string {
    return this.url(`${addressOf(sessionId)}/maps/${candidate}/${block}${sideOf(side)}`)
  }
  /** ... and the whole test as one HTML file, in English or another language that the daemon writes it in. */
  reportUrl(sessionId: string, language: ReportLanguage = 'en'): string { return this.url(`${addressOf(sessionId)}/report${language === 'en' ? '' : `?lang=${language}`}`) }

  private change(sessionId: string, what: 'accept' | 'pause' | 'resume' | 'cancel', signal?: AbortSignal): Promise<QualitySession> {
    return this.post(`${addressOf(sessionId)}/${what}`, undefined, signal)
  }
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer)
      reject(signal?.reason instanceof Error ? signal.reason : new Error('aborted'))
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, ms)
    if (signal?.aborted) stop()
    else signal?.addEventListener('abort', stop, { once: true })
  })
}
